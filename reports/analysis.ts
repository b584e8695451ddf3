/**
 * A run into what reports show: per scenario the points, engines and loads with median, interval, share of the limits,
 * merged latencies and the comparisons between engines. Pure: a stored run in, plain data out; words and pixels are made
 * elsewhere.
 */

import {
  type DurabilityClass,
  type Load,
  type ProbeResult,
  type Run,
  type ScenarioRecord,
  type Trial,
  UNTRIED_RATE,
} from "../results/schema.js";
import {
  attainableConfidence,
  attainableRankSumConfidence,
  bootstrapInterval,
  type Estimate,
  median,
  ratioOfSamples,
} from "../results/statistics.js";
import {
  type Circumstances,
  circumstancesOf,
  type Grade,
  gradeCell,
  usableTrials,
  type Validity,
  worse,
} from "../results/validity.js";
import { type LatencySummary, summariseLatency } from "./histograms.js";
import { type LoadTrend, loadTrends } from "./load-trends.js";
import { commonPercentile, type Figure, hasPercentile, inverse, pairedRatio, pairTrials } from "./pairs.js";

export type Scalar = string | number | boolean;

/** Values of all axes of a scenario, in its order. */
export interface Point {
  /** Equal exactly for equal values. */
  key: string;
  values: readonly Scalar[];
}

export interface Axis {
  path: string;
  label: string;
  /** Those that some trial has, in the order of the scenario. */
  values: readonly Scalar[];
  isNumeric: boolean;
}

/** A figure of an engine as a share of a limit that the same run measured. */
export interface Share {
  /** Figure ÷ limit, from trials of both that were not taken in pairs. */
  share: Estimate;
  /** Where the limit was measured, if not at the figure's own point. */
  referencePoint: Point | null;
}

/**
 * What several trials of one engine at one point under one load came to. Figures are null if no trial is ok. Invalid trials
 * are left out of a figure; where all are invalid it is shown, marked so, and nothing rests on it.
 */
export interface Group {
  /** Of a baseline that has other settings for other engines with those: "raw for commitlog". */
  engine: string;
  isBaseline: boolean;
  /** Of a baseline: the engines whose sizes and flush policy it had; null: the run does not tell. */
  limits: readonly string[] | null;
  /** Of a baseline that ran before and after the engines: its medians' change, 0.1 = 10 % more afterwards; else null. */
  drift: { acknowledged: number; durable: number | null } | null;
  point: Point;
  load: Load;
  /** "closed" or "open 0.7": equal for loads that are compared with each other. */
  loadKey: string;
  /** Those that are ok, by repetition. */
  trials: readonly Trial[];
  failedCount: number;
  /** Of the failed: those that were only too slow for their rate, or for the interval. */
  missedCount: number;
  validity: Validity;
  durabilityClasses: readonly DurabilityClass[];
  /** Stores nothing, as `null` does: it has no durable figure and no share of a disk. */
  storesNothing: boolean;
  acknowledged: Estimate | null;
  durable: Estimate | null;
  /** Payload bytes a second, medians. */
  acknowledgedBytesPerSecond: number | null;
  durableBytesPerSecond: number | null;
  responseTime: LatencySummary | null;
  serviceTime: LatencySummary | null;
  scheduleLag: LatencySummary | null;
  /** Acknowledged ÷ acknowledged and durable ÷ durable of `raw`; closed loop only. */
  ofRaw: { acknowledged: Share; durable: Share } | null;
  /** Acknowledged ÷ acknowledged of `null`; closed loop only. */
  ofNull: Share | null;
  /** Within 2× of `null`: the figure says as much about the harness as about the engine. */
  isHarnessBound: boolean;
  /** Acknowledged ÷ the probe's buffered and durable ÷ its direct sequential write; closed loop only. */
  ofDevice: { acknowledged: number | null; durable: number | null } | null;
  unsteadyCount: number;
  /** Medians over trials. Share of the acknowledged rate that the durable one lacks: what the kernel still owes the disk. */
  pageCacheDebt: number | null;
  finalFlushNs: number | null;
  dirtyBytesAtEnd: number | null;
  batchMessages: number | null;
  syncsPerMessage: number | null;
  /** Bytes written by the engine for each byte of payload. */
  writtenPerPayloadByte: number | null;
}

/** Two engines at one point under one load, from trials of equal repetition. */
export interface Comparison {
  point: Point;
  loadKey: string;
  load: Load;
  /** The better one by point estimate. */
  leader: Group;
  other: Group;
  /** How much better, at least 1: rate of the leader ÷ the other's, or the other's latency ÷ the leader's. */
  ratio: Estimate;
  pairCount: number;
  /** Whether the ratio's interval leaves 1 out. */
  isDistinct: boolean;
  figure: Figure;
  /** Set for response times. */
  percentile: number | null;
  /** The graver of its two figures'; invalid ones are not compared. */
  grade: Grade;
}

/** Two engines that may not be compared there, and why. */
interface RefusedComparison {
  point: Point;
  loadKey: string;
  engines: readonly [string, string];
  reason: "durability class" | "no figures" | "invalid";
}

/** How an engine's figure changed from the first to the last value of the x axis. */
export interface Trend {
  group: Group;
  from: Point;
  to: Point;
  loadKey: string;
  /** Figure at the last ÷ figure at the first value. */
  ratio: Estimate;
  pairCount: number;
  percentile: number | null;
  /** The two ends differ in durability class: the ratio also shows the price of the class. */
  crossesClasses: boolean;
  grade: Grade;
}

/** The points that differ in the x axis only. */
export interface Facet {
  /** Values of all axes but x, with the axes they belong to. */
  values: readonly { axis: Axis; value: Scalar }[];
  points: readonly Point[];
}

interface Warning {
  text: string;
  /** Which trials it was said of: engine and how often. */
  engines: ReadonlyMap<string, number>;
}

export interface ScenarioAnalysis {
  record: ScenarioRecord;
  axes: readonly Axis[];
  /** Index of the axis that charts and answers run along; null if nothing varies. */
  xAxis: number | null;
  points: readonly Point[];
  facets: readonly Facet[];
  groups: readonly Group[];
  comparisons: readonly Comparison[];
  refused: readonly RefusedComparison[];
  trends: readonly Trend[];
  /** What more load and less even arrivals do to response times. */
  loadTrends: readonly LoadTrend[];
  failedTrials: readonly Trial[];
  warnings: readonly Warning[];
  /** The classes of its engines' figures; more than one calls for a banner. */
  durabilityClasses: readonly DurabilityClass[];
}

export interface DeviceLimits {
  /** Sequential write through the page cache, the fastest block size probed. */
  bufferedWrite: ProbeResult | null;
  /** The same past the page cache. */
  directWrite: ProbeResult | null;
}

export interface RunAnalysis {
  scenarios: readonly ScenarioAnalysis[];
  device: DeviceLimits;
  /** Every engine of the run, compared ones before baselines: the order of colours. */
  engines: readonly string[];
  baselines: readonly string[];
  failedCount: number;
  /** Trials of scenarios that the run does not describe. */
  strayTrials: readonly Trial[];
}

/** An engine within this factor of `null` is harness-bound (method rule 16). */
const HARNESS_BOUND_FACTOR = 2;
/** Told where every trial has samples enough for it. */
const FAR_TAIL = 99.9;

export function analyse(run: Run): RunAnalysis {
  const device = deviceLimits(run.probe);
  const circumstances = circumstancesOf(run);
  const known = new Set(run.scenarios.map((scenario) => scenario.id));
  const names = (of: (record: ScenarioRecord) => string[]) => [...new Set(run.scenarios.flatMap(of))];
  const engines = names((record) => record.engines);
  const scenarios = run.scenarios.map((record) =>
    analyseScenario(
      record,
      run.trials.filter((trial) => trial.scenarioId === record.id),
      device,
      circumstances,
      run.seed,
    ),
  );
  return {
    scenarios,
    device,
    engines,
    baselines: [
      ...new Set(
        scenarios.flatMap(({ groups }) => groups.filter((group) => group.isBaseline).map((group) => group.engine)),
      ),
    ],
    failedCount: run.trials.filter((trial) => trial.status === "failed").length,
    strayTrials: run.trials.filter((trial) => !known.has(trial.scenarioId)),
  };
}

/** The group of an engine at a point under a load, if it was tried. */
export function findGroup(groups: readonly Group[], engine: string, point: Point, loadKey: string): Group | undefined {
  return groups.find((group) => group.engine === engine && group.point.key === point.key && group.loadKey === loadKey);
}

/** The compared figure of `engine` ÷ that of the other, whichever leads. */
export function ratioFrom(comparison: Comparison, engine: string): Estimate {
  const isLeader = comparison.leader.engine === engine;
  const isRate = comparison.figure !== "responseTime";
  return isLeader === isRate ? comparison.ratio : inverse(comparison.ratio);
}

function loadKeyOf(load: Load): string {
  return load.model === "closed" ? "closed" : `open ${load.capacityFraction} ${load.arrivals}`;
}

function analyseScenario(
  record: ScenarioRecord,
  trials: readonly Trial[],
  device: DeviceLimits,
  circumstances: Circumstances,
  seed: number,
): ScenarioAnalysis {
  const axes = record.axes.map((axis) => usedAxis(axis, trials));
  const points = pointsInOrder(axes, trials);
  const groups = groupTrials(record, points, trials, circumstances, seed);
  addShares(groups, axes, device, circumstances);
  const xAxis = chooseXAxis(axes);
  const facets = facetsOf(axes, xAxis, points);
  const { comparisons, refused } = compareEngines(record, points, groups, circumstances);
  const engineGroups = groups.filter((group) => !group.isBaseline);
  return {
    record,
    axes,
    xAxis,
    points,
    facets,
    groups,
    comparisons,
    refused,
    trends: trendsOf(record, facets, groups, circumstances),
    loadTrends: loadTrends(engineGroups, circumstances),
    failedTrials: trials.filter((trial) => trial.status === "failed"),
    warnings: gatherWarnings(trials),
    durabilityClasses: classesOf(engineGroups.flatMap((group) => group.trials)),
  };
}

function usedAxis(axis: ScenarioRecord["axes"][number], trials: readonly Trial[]): Axis {
  const seen = new Set(trials.map((trial) => trial.point[axis.path]).filter((value) => value !== undefined));
  const values = axis.values.filter((value) => seen.has(value));
  return { path: axis.path, label: axis.label, values, isNumeric: values.every((value) => typeof value === "number") };
}

function pointOf(axes: readonly Axis[], trial: Trial): Point {
  const values = axes.map((axis) => trial.point[axis.path] ?? "");
  return { key: JSON.stringify(values), values };
}

/** In the order of the axes' values, the last axis varying fastest. */
function pointsInOrder(axes: readonly Axis[], trials: readonly Trial[]): Point[] {
  const byKey = new Map(trials.map((trial) => pointOf(axes, trial)).map((point) => [point.key, point]));
  const rank = (point: Point) => point.values.map((value, i) => axes[i]!.values.indexOf(value));
  return [...byKey.values()].sort((a, b) => {
    const [ranksA, ranksB] = [rank(a), rank(b)];
    const first = ranksA.findIndex((value, i) => value !== ranksB[i]);
    return first === -1 ? 0 : ranksA[first]! - ranksB[first]!;
  });
}

/** The numeric axis with most values; without one the first; null if no axis has two. */
function chooseXAxis(axes: readonly Axis[]): number | null {
  let best: number | null = null;
  for (const [index, axis] of axes.entries()) {
    if (axis.values.length < 2) continue;
    const current = best === null ? null : axes[best]!;
    const isBetter =
      current === null ||
      (axis.isNumeric && !current.isNumeric) ||
      (axis.isNumeric === current.isNumeric && axis.values.length > current.values.length);
    if (isBetter) best = index;
  }
  return best;
}

function facetsOf(axes: readonly Axis[], xAxis: number | null, points: readonly Point[]): Facet[] {
  const facets = new Map<string, { values: { axis: Axis; value: Scalar }[]; points: Point[] }>();
  for (const point of points) {
    const values = axes.map((axis, i) => ({ axis, value: point.values[i]! })).filter((_, i) => i !== xAxis);
    const key = JSON.stringify(values.map(({ value }) => value));
    const facet = facets.get(key) ?? { values, points: [] };
    facet.points.push(point);
    facets.set(key, facet);
  }
  return [...facets.values()];
}

function groupTrials(
  record: ScenarioRecord,
  points: readonly Point[],
  trials: readonly Trial[],
  circumstances: Circumstances,
  seed: number,
): Group[] {
  const axes = record.axes.map((axis) => usedAxis(axis, trials));
  const byKey = new Map<string, Trial[]>();
  for (const trial of trials) {
    const { engine, limits, configuration } = trial;
    const key = JSON.stringify([pointOf(axes, trial).key, engine, limits, loadKeyOf(configuration.load)]);
    byKey.set(key, [...(byKey.get(key) ?? []), trial]);
  }
  const order = [...record.engines, ...record.baselines];
  const rank = (members: readonly Trial[]) => {
    const { engine, limits } = members[0]!;
    return order.indexOf(engine) + (limits === null ? 0 : record.engines.indexOf(limits[0]!)) / (order.length + 1);
  };
  const groups: Group[] = [];
  for (const point of points) {
    const here = [...byKey.values()].filter((members) => pointOf(axes, members[0]!).key === point.key);
    here.sort(
      (a, b) =>
        rank(a) - rank(b) || (loadKeyOf(a[0]!.configuration.load) < loadKeyOf(b[0]!.configuration.load) ? -1 : 1),
    );
    for (const members of here) {
      if (rank(members) >= 0) groups.push(makeGroup(record, point, members, circumstances, seed));
    }
  }
  return groups;
}

/** "raw", or where it had other settings for other engines "raw for commitlog". */
function groupName(record: ScenarioRecord, { engine, limits }: Trial): string {
  const isForAll = limits === null || limits.length === 0 || record.engines.every((name) => limits.includes(name));
  return isForAll ? engine : `${engine} for ${limits.join(" and ")}`;
}

function driftOf(trials: readonly Trial[], storesNothing: boolean): Group["drift"] {
  const change = (figure: "acknowledged" | "durable") => {
    const values = (phase: Trial["phase"]) =>
      trials.filter((trial) => trial.phase === phase).map((trial) => trial.measured![figure].messagesPerSecond);
    const [before, after] = [values("before"), values("after")];
    return before.length === 0 || after.length === 0 ? null : median(after) / median(before) - 1;
  };
  const acknowledged = change("acknowledged");
  return acknowledged === null ? null : { acknowledged, durable: storesNothing ? null : change("durable") };
}

function makeGroup(
  record: ScenarioRecord,
  point: Point,
  members: readonly Trial[],
  circumstances: Circumstances,
  seed: number,
): Group {
  const trials = members.filter(({ status }) => status === "ok").sort((a, b) => a.repetition - b.repetition);
  const measured = trials.map((trial) => trial.measured!);
  const storesNothing = trials.length > 0 && trials.every((trial) => trial.verification?.outcome === "not-applicable");
  const basisOf = (figure: Figure) => {
    const usable = usableTrials(trials, figure, circumstances);
    return (usable.length > 0 ? usable : trials).map((trial) => trial.measured!);
  };
  const taken = basisOf("acknowledged");
  const paced = basisOf("responseTime");
  const stored = storesNothing ? [] : basisOf("durable");
  const estimate = (values: number[]) => (values.length === 0 ? null : medianWithInterval(values, seed));
  const middle = (values: (number | null)[]) => {
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? null : median(known);
  };
  const { engine, limits, configuration } = members[0]!;
  return {
    engine: groupName(record, members[0]!),
    isBaseline: !record.engines.includes(engine),
    limits,
    drift: driftOf(trials, storesNothing),
    point,
    load: representativeLoad(members),
    loadKey: loadKeyOf(configuration.load),
    trials,
    failedCount: members.length - trials.length,
    missedCount: members.filter((trial) => trial.failureKind === "rate" && !isUntried(trial)).length,
    validity: gradeCell(trials, circumstances),
    durabilityClasses: classesOf(trials),
    storesNothing,
    acknowledged: estimate(taken.map((one) => one.acknowledged.messagesPerSecond)),
    durable: estimate(stored.map((one) => one.durable.messagesPerSecond)),
    acknowledgedBytesPerSecond: middle(taken.map((one) => one.acknowledged.payloadBytesPerSecond)),
    durableBytesPerSecond: middle(stored.map((one) => one.durable.payloadBytesPerSecond)),
    responseTime: summariseLatency(
      paced.map((one) => one.responseTime),
      true,
    ),
    serviceTime: summariseLatency(
      paced.map((one) => one.serviceTime),
      false,
    ),
    scheduleLag: summariseLatency(
      paced.map((one) => one.scheduleLag).filter((lag) => lag !== null),
      false,
    ),
    ofRaw: null,
    ofNull: null,
    isHarnessBound: false,
    ofDevice: null,
    unsteadyCount: measured.filter((one) => !one.steady).length,
    pageCacheDebt: middle(
      stored.map(({ acknowledged, durable }) =>
        acknowledged.messagesPerSecond === 0 ? null : 1 - durable.messagesPerSecond / acknowledged.messagesPerSecond,
      ),
    ),
    finalFlushNs: middle(stored.map((one) => one.finalFlushNs)),
    dirtyBytesAtEnd: middle(stored.map((one) => one.dirtyBytesAtEnd)),
    batchMessages: middle(
      measured.map(({ counters }) => (counters.batches === 0 ? null : counters.appendedMessages / counters.batches)),
    ),
    syncsPerMessage: middle(
      measured.map(({ counters }) =>
        counters.acknowledgedMessages === 0 ? null : counters.syncCalls / counters.acknowledgedMessages,
      ),
    ),
    writtenPerPayloadByte: middle(
      trials.map(({ measured: one, configuration }) => {
        const payloadBytes = one!.counters.appendedMessages * configuration.messages.sizeBytes;
        return payloadBytes === 0 ? null : one!.counters.writtenBytes / payloadBytes;
      }),
    ),
  };
}

function medianWithInterval(values: readonly number[], seed: number): Estimate {
  return { ...bootstrapInterval(values, median, { seed }), confidence: attainableConfidence(values.length) };
}

/** Open-loop trials of one group have each their own rate, a fraction of a capacity: the median stands for them. */
function representativeLoad(members: readonly Trial[]): Load {
  const loads = members.map((trial) => trial.configuration.load);
  const first = loads[0]!;
  if (first.model === "closed") return first;
  const tried = members.filter((trial) => !isUntried(trial)).map((trial) => trial.configuration.load);
  const rates = tried.flatMap((load) => (load.model === "open" ? [load.ratePerSecond] : []));
  return { ...first, ratePerSecond: rates.length === 0 ? UNTRIED_RATE : median(rates) };
}

/** Its engine had no capacity at that point, so it was not too slow for its rate either. */
export function isUntried({ measured, failureKind, configuration: { load } }: Trial): boolean {
  return measured === null && failureKind === "rate" && load.model === "open" && load.ratePerSecond === UNTRIED_RATE;
}

function classesOf(trials: readonly Trial[]): DurabilityClass[] {
  return [...new Set(trials.flatMap((trial) => trial.measured?.durabilityClass ?? []))].sort();
}

/** Fills in shares of `raw`, `null` and the device for closed-loop groups: a paced load has no share of a ceiling. */
function addShares(
  groups: readonly Group[],
  axes: readonly Axis[],
  device: DeviceLimits,
  circumstances: Circumstances,
): void {
  for (const group of groups) {
    if (group.loadKey !== "closed" || group.acknowledged === null) continue;
    const share = (reference: Group, figure: "acknowledged" | "durable") =>
      shareOf(group, reference, figure, circumstances);
    const isRaw = group.trials[0]!.engine === "raw";
    const raw = isRaw || group.storesNothing ? undefined : nearestReference(groups, axes, group, "raw", isFairRaw);
    if (raw !== undefined) group.ofRaw = { acknowledged: share(raw, "acknowledged"), durable: share(raw, "durable") };
    const isNull = group.trials[0]!.engine === "null";
    const nothing = isNull ? undefined : nearestReference(groups, axes, group, "null", isFairNull);
    if (nothing !== undefined) {
      group.ofNull = share(nothing, "acknowledged");
      group.isHarnessBound = group.ofNull.share.point * HARNESS_BOUND_FACTOR >= 1;
    }
    if (!group.isBaseline) group.validity = gradeCell(group.trials, circumstances, largestDrift([raw, nothing]));
    if (!group.storesNothing) {
      group.ofDevice = {
        acknowledged: ratioTo(group.acknowledgedBytesPerSecond, device.bufferedWrite),
        durable: ratioTo(group.durableBytesPerSecond, device.directWrite),
      };
    }
  }
}

/** Of the limits' figures the one that changed most, either way. */
function largestDrift(limits: readonly (Group | undefined)[]): number | null {
  const drifts = limits.flatMap((limit) => [limit?.drift?.acknowledged ?? null, limit?.drift?.durable ?? null]);
  return drifts.reduce<number | null>(
    (most, drift) => (drift !== null && Math.abs(drift) > Math.abs(most ?? 0) ? drift : most),
    null,
  );
}

function shareOf(
  group: Group,
  reference: Group,
  figure: "acknowledged" | "durable",
  circumstances: Circumstances,
): Share {
  const rates = (of: Group) => {
    const usable = usableTrials(of.trials, figure, circumstances);
    const values = (usable.length > 0 ? usable : of.trials).map((trial) => trial.measured![figure].messagesPerSecond);
    // A rate of nothing has no logarithm; such a share is as good as none.
    return values.map((value) => Math.max(value, Number.MIN_VALUE));
  };
  const [own, limit] = [rates(group), rates(reference)];
  const confidence = Math.min(0.95, attainableRankSumConfidence(own.length, limit.length));
  return {
    share: ratioOfSamples(own, limit, confidence),
    referencePoint: reference.point.key === group.point.key ? null : reference.point,
  };
}

function ratioTo(bytesPerSecond: number | null, probe: ProbeResult | null): number | null {
  return bytesPerSecond === null || probe === null ? null : bytesPerSecond / probe.bytesPerSecond;
}

/** `raw` writes bytes and syncs: sizes of message and batch, flush policy and messages in flight must be the figure's. */
function isFairRaw(reference: Group, group: Group): boolean {
  const [a, b] = [reference.trials[0]!.configuration, group.trials[0]!.configuration];
  const isMeant = reference.limits === null || reference.limits.includes(group.trials[0]!.engine);
  return (
    isMeant &&
    a.messages.sizeBytes === b.messages.sizeBytes &&
    a.load.inFlight === b.load.inFlight &&
    JSON.stringify(a.settings.flush) === JSON.stringify(b.settings.flush)
  );
}

/** `null` stores nothing, so that only what the load generator does must be alike. */
function isFairNull(reference: Group, group: Group): boolean {
  return reference.trials[0]!.configuration.messages.sizeBytes === group.trials[0]!.configuration.messages.sizeBytes;
}

function nearestReference(
  groups: readonly Group[],
  axes: readonly Axis[],
  group: Group,
  baseline: string,
  isFair: (reference: Group, group: Group) => boolean,
): Group | undefined {
  let nearest: Group | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of groups) {
    if (candidate.trials[0]?.engine !== baseline || candidate.loadKey !== "closed" || candidate.acknowledged === null)
      continue;
    if (candidate.validity.acknowledged.grade === "invalid") continue;
    const distance = distanceBetween(axes, candidate.point, group.point);
    if (distance < least && isFair(candidate, group)) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}

/** Steps along the axes. */
function distanceBetween(axes: readonly Axis[], a: Point, b: Point): number {
  return axes.reduce((sum, axis, i) => {
    return sum + Math.abs(axis.values.indexOf(a.values[i]!) - axis.values.indexOf(b.values[i]!));
  }, 0);
}

function compareEngines(
  record: ScenarioRecord,
  points: readonly Point[],
  groups: readonly Group[],
  circumstances: Circumstances,
): { comparisons: Comparison[]; refused: RefusedComparison[] } {
  const comparisons: Comparison[] = [];
  const refused: RefusedComparison[] = [];
  const loadKeys = comparedLoads(record.figure, groups);
  for (const point of points) {
    for (const loadKey of loadKeys) {
      for (const [first, second] of pairs(record.engines)) {
        const a = findGroup(groups, first, point, loadKey);
        const b = findGroup(groups, second, point, loadKey);
        if (a === undefined || b === undefined) continue;
        const result = compare(record.figure, a, b, circumstances);
        if (typeof result === "string") refused.push({ point, loadKey, engines: [first, second], reason: result });
        else comparisons.push(result);
      }
    }
  }
  return { comparisons, refused };
}

/** Throughput is compared in the closed loop, response time in the open one, for which alone it is honest. */
function comparedLoads(figure: Figure, groups: readonly Group[]): string[] {
  const keys = [...new Set(groups.map((group) => group.loadKey))].sort();
  const open = keys.filter((key) => key !== "closed");
  if (figure === "responseTime") return open.length > 0 ? open : keys;
  return keys.includes("closed") ? ["closed"] : open;
}

function compare(
  figure: Figure,
  a: Group,
  b: Group,
  circumstances: Circumstances,
): Comparison | RefusedComparison["reason"] {
  if (a.trials.length === 0 || b.trials.length === 0) return "no figures";
  if (a.durabilityClasses.join() !== b.durabilityClasses.join()) return "durability class";
  const grade = worse(a.validity[figure].grade, b.validity[figure].grade);
  if (grade === "invalid") return "invalid";
  const percentile = figure === "responseTime" ? commonPercentile([a, b]) : null;
  const paired = pairTrials(a.trials, b.trials, figure, percentile, circumstances);
  if (paired === null) return "no figures";
  const ratio = pairedRatio(paired.first, paired.second);
  const firstLeads = figure === "responseTime" ? ratio.point <= 1 : ratio.point >= 1;
  const atLeastOne = ratio.point >= 1 ? ratio : inverse(ratio);
  return {
    point: a.point,
    loadKey: a.loadKey,
    load: a.load,
    leader: firstLeads ? a : b,
    other: firstLeads ? b : a,
    ratio: atLeastOne,
    pairCount: paired.first.length,
    isDistinct: paired.first.length > 1 && atLeastOne.lower > 1,
    figure,
    percentile,
    grade,
  };
}

function trendsOf(
  record: ScenarioRecord,
  facets: readonly Facet[],
  groups: readonly Group[],
  circumstances: Circumstances,
): Trend[] {
  const trends: Trend[] = [];
  for (const { points } of facets) {
    const from = points[0]!;
    const to = points.at(-1)!;
    if (from.key === to.key) continue;
    for (const engine of record.engines) {
      for (const loadKey of comparedLoads(record.figure, groups)) {
        const start = findGroup(groups, engine, from, loadKey);
        const end = findGroup(groups, engine, to, loadKey);
        if (start === undefined || end === undefined) continue;
        const grade = worse(start.validity[record.figure].grade, end.validity[record.figure].grade);
        if (grade === "invalid") continue;
        // Of latencies the typical one and the tail, as far as it is known: scenarios speak of either.
        const percentiles = record.figure === "responseTime" ? tailPercentiles([start, end]) : [null];
        for (const percentile of percentiles) {
          const paired = pairTrials(end.trials, start.trials, record.figure, percentile, circumstances);
          if (paired === null) continue;
          trends.push({
            group: end,
            from,
            to,
            loadKey,
            ratio: pairedRatio(paired.first, paired.second),
            pairCount: paired.first.length,
            percentile,
            crossesClasses: start.durabilityClasses.join() !== end.durabilityClasses.join(),
            grade,
          });
        }
      }
    }
  }
  return trends;
}

function tailPercentiles(ends: readonly Group[]): number[] {
  const known = ends.every(({ trials }) => hasPercentile(trials, FAR_TAIL)) ? [FAR_TAIL] : [];
  return [...new Set([50, commonPercentile(ends), ...known])];
}

function* pairs<T>(items: readonly T[]): Generator<[T, T]> {
  for (let i = 0; i < items.length; i++) {
    for (let j = i + 1; j < items.length; j++) yield [items[i]!, items[j]!];
  }
}

function gatherWarnings(trials: readonly Trial[]): Warning[] {
  const byText = new Map<string, Map<string, number>>();
  for (const trial of trials) {
    for (const text of trial.warnings) {
      const engines = byText.get(text) ?? new Map<string, number>();
      engines.set(trial.engine, (engines.get(trial.engine) ?? 0) + 1);
      byText.set(text, engines);
    }
  }
  return [...byText].map(([text, engines]) => ({ text, engines }));
}

/** The harness's own probe is the limit; fio only cross-checks it. */
function deviceLimits(probe: readonly ProbeResult[]): DeviceLimits {
  const fastest = (id: ProbeResult["id"]) => {
    const usable = probe.filter((one) => one.id === id && one.tool === "logduel" && one.unavailable === null);
    return usable.reduce<ProbeResult | null>(
      (best, one) => (one.bytesPerSecond > (best?.bytesPerSecond ?? 0) ? one : best),
      null,
    );
  };
  return { bufferedWrite: fastest("buffered-write"), directWrite: fastest("direct-write") };
}

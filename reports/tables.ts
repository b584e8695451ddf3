/** The tables behind the charts, as text and exact values: one definition for page and Markdown. */

import { type ProbeResult, type Run, type Trial, UNTRIED_RATE } from "../results/schema.js";
import { type Estimate, median } from "../results/statistics.js";
import type { Grade } from "../results/validity.js";
import type { Group, Point, RunAnalysis, ScenarioAnalysis, Share } from "./analysis.js";
import { isUntried, ratioFrom } from "./analysis.js";
import { doubtfulFigures } from "./doubts.js";
import {
  formatBytes,
  formatBytesPerSecond,
  formatCount,
  formatRate,
  formatRatio,
  formatShare,
  formatTime,
  groupThousands,
  percentileName,
  threeDigits,
} from "./format.js";
import { type LatencySummary, PERCENTILES, type PercentileFigure, summariseLatency } from "./histograms.js";
import { searchRows } from "./searches.js";
import {
  ARRIVAL_WORDS,
  axisName,
  axisValueWords,
  capitalised,
  cautionWords,
  changeWords,
  classWithPlace,
  classWords,
  intervalWords,
  loadWords,
  loadWordsWithRate,
  loopWords,
  pointWords,
  rangeWords,
  valueWords,
} from "./words.js";

export interface Cell {
  text: string;
  /** The figure in its stored unit, unrounded. */
  value?: number;
  /** Smaller, below the text: the interval, or where a limit was measured. */
  note?: string;
}

export interface Table {
  /** Safe as an element id. */
  id: string;
  caption: string;
  columns: { name: string; label: string; isNumber: boolean }[];
  rows: { isMuted: boolean; cells: Cell[] }[];
}

export const NOTHING: Cell = { text: "–" };

/** Closed loop: what each engine could take. */
export function throughputTable(scenario: ScenarioAnalysis, slug: string): Table {
  const groups = scenario.groups.filter((group) => group.loadKey === "closed");
  return withoutEmptyColumns({
    id: `${slug}-throughput-table`,
    caption:
      "Throughput, closed loop: medians over trials in messages a second; of several trials the interval stands below. Page-cache debt is the share of the acknowledged rate that the durable one lacks; below it what was dirty on the machine when the interval ended, and how long the final flush took. Shares of raw and of the device are acknowledged / durable. “raw for” an engine had its batch size and flush policy.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      number("acknowledged", "Acknowledged"),
      number("durable", "Durable"),
      number("debt", "Page-cache debt"),
      number("payload", "Durable payload"),
      number("ofRaw", "Of raw"),
      number("ofNull", "Of null"),
      number("ofDevice", "Of device"),
      number("trials", "Trials"),
      text("notes", "Notes"),
    ],
    rows: groups.map((group) => ({
      isMuted: group.isBaseline,
      cells: [
        ...axisCells(scenario, group),
        ...engineCells(group),
        graded(estimateCell(group.acknowledged, formatRate), group.validity.acknowledged.grade),
        graded(estimateCell(group.durable, formatRate), group.validity.durable.grade),
        debtCell(group),
        numberCell(group.durableBytesPerSecond, formatBytesPerSecond),
        pairCell(scenario, group.ofRaw),
        shareCell(scenario, group.ofNull),
        deviceCell(group),
        trialsCell(group),
        { text: cautionWords(group).join("; ") },
      ],
    })),
  });
}

/** Percentiles of response time, each load by itself: those of a closed loop say so in every row. */
export function latencyTable(scenario: ScenarioAnalysis, slug: string): Table {
  const groups = scenario.groups.filter((group) => group.responseTime !== null || isMissed(group));
  return withoutEmptyColumns({
    id: `${slug}-latency-table`,
    caption:
      "Response time, all trials merged; below each figure the lowest and highest trial. Of a single trial, and after ≈ where only 10 to 99 samples lie beyond, it is the 95 % rank interval; with fewer than 10 nothing is shown.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      ...PERCENTILES.map((percentile) =>
        number(`p${percentile}`, percentile === 50 ? "Median" : percentileName(percentile)),
      ),
      number("max", "Maximum"),
      number("service", "Service time p99"),
      number("lag", "Schedule lag p99"),
      number("samples", "Samples"),
      text("validity", "Validity"),
      number("trials", "Trials"),
    ],
    rows: groups.map((group) => {
      const response = group.responseTime;
      return {
        isMuted: group.isBaseline || response === null,
        cells: [
          ...axisCells(scenario, group),
          ...engineCells(group),
          ...PERCENTILES.map((_, i) => (response === null ? NOTHING : percentileCell(response.percentiles[i]!))),
          (response?.overflowCount ?? 0) > 0 ? { text: "above 60 s" } : numberCell(response?.maxNs ?? null, formatTime),
          p99Cell(group.serviceTime),
          p99Cell(group.scheduleLag),
          numberCell(response?.sampleCount ?? null, formatCount),
          { text: isMissed(group) ? "FAILED: rate not met" : group.validity.responseTime.grade },
          trialsCell(group),
        ],
      };
    }),
  });
}

/** Every figure that is not valid, and why. */
export function validityTable(scenario: ScenarioAnalysis, slug: string): Table {
  return {
    id: `${slug}-validity-table`,
    caption:
      "Doubtful figures are shown with these reasons, and sentences that rest on them say so; invalid ones are shown and used nowhere. What is not listed is valid.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      text("figure", "Figure"),
      text("grade", "Grade"),
      text("reasons", "Reasons"),
    ],
    rows: doubtfulFigures(scenario).map(({ group, figure, grade, reasons }) => ({
      isMuted: group.isBaseline,
      cells: [
        ...axisCells(scenario, group),
        ...engineCells(group),
        { text: figure },
        { text: grade },
        { text: reasons.join(" ") },
      ],
    })),
  };
}

/** What the engines did for it, from exact counters. */
export function workTable(scenario: ScenarioAnalysis, slug: string): Table {
  const groups = scenario.groups.filter((group) => group.trials.length > 0);
  return withoutEmptyColumns({
    id: `${slug}-work-table`,
    caption: "What the engines did: medians over trials.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      number("batch", "Messages per batch"),
      number("syncs", "Syncs per 1 000 messages"),
      number("written", "Written per payload byte"),
    ],
    rows: groups.map((group) => ({
      isMuted: group.isBaseline,
      cells: [
        ...axisCells(scenario, group),
        ...engineCells(group),
        numberCell(group.batchMessages, threeDigits),
        numberCell(group.syncsPerMessage === null ? null : group.syncsPerMessage * 1000, threeDigits),
        numberCell(group.writtenPerPayloadByte, threeDigits),
      ],
    })),
  });
}

/**
 * For each facet how each engine's figure changes along the x axis and how the engines' ratio does; null if nothing does.
 */
export function courseTable(scenario: ScenarioAnalysis, slug: string): Table | null {
  const { xAxis, axes, facets, record, trends, comparisons } = scenario;
  if (xAxis === null || trends.length === 0) return null;
  const axis = axes[xAxis]!;
  const [from, to] = [axis.values[0]!, axis.values.at(-1)!].map((value) => axisValueWords(axis, value));
  // Of several loads and percentiles the highest, which come last: the answer speaks of the same.
  const loadKey = trends
    .map((trend) => trend.loadKey)
    .sort()
    .at(-1)!;
  const shown = trends.filter((trend) => trend.loadKey === loadKey);
  const [first, second] = record.engines;
  const compared =
    second === undefined ? [] : [from!, to!].map((at) => number(`at${at}`, `${first} ÷ ${second} at ${at}`));
  const figure = record.figure === "responseTime" ? "response time at the tail" : `${record.figure} throughput`;
  return {
    id: `${slug}-course-table`,
    caption: `How ${figure} changes from ${axisName(axis)} = ${from} to ${to}, as a factor, and how the engines compare at both ends; intervals below.`,
    columns: [
      ...axes.filter((one) => one !== axis).map((one, i) => text(`axis${i}`, capitalised(axisName(one)))),
      text("class", "Class"),
      text("loop", "Loop"),
      ...record.engines.map((engine, i) => number(`engine${i}`, `${engine}, ${from} → ${to}`)),
      ...compared,
    ],
    rows: facets.map(({ values, points }) => {
      const isHere = (point: Point) => points.some(({ key }) => key === point.key);
      const here = shown.filter((trend) => isHere(trend.to));
      const at = (point: Point | undefined) =>
        comparisons.find(
          ({ point: { key }, loadKey: load, leader, other }) =>
            key === point?.key &&
            load === loadKey &&
            [leader, other].every((group) => group.engine === first || group.engine === second),
        );
      const ends = compared.length === 0 ? [] : [at(points[0]), at(points.at(-1))];
      return {
        isMuted: false,
        cells: [
          ...values.map(({ axis: one, value }) => ({ text: axisValueWords(one, value) })),
          { text: classWords([...new Set(here.flatMap((trend) => trend.group.durabilityClasses))].sort()) },
          { text: here[0] === undefined ? "–" : loopWords(here[0].group.load) },
          ...record.engines.map((engine) => ratioCell(here.findLast((trend) => trend.group.engine === engine)?.ratio)),
          ...ends.map((comparison) => ratioCell(comparison === undefined ? undefined : ratioFrom(comparison, first!))),
        ],
      };
    }),
  };
}

/** The highest rates that meet an objective. */
export function searchTable(run: Run): Table {
  return {
    id: "searches-table",
    caption:
      "The highest rate, open loop with Poisson arrivals, at which the objective was met in two trials; the notes say how each search ended. A noisy machine may miss what it meets otherwise.",
    columns: [
      text("scenario", "Scenario"),
      text("point", "Point"),
      text("engine", "Engine"),
      text("class", "Class"),
      text("objective", "Objective"),
      number("rate", "Highest rate"),
      number("ofCapacity", "Of its closed loop"),
      number("latency", "There"),
      text("notes", "Notes"),
    ],
    rows: searchRows(run).map((row) => ({
      isMuted: row.ratePerSecond === null,
      cells: [
        { text: row.scenario },
        { text: row.point === "" ? "–" : row.point },
        { text: row.engine },
        { text: row.classes },
        { text: row.objective },
        numberCell(row.ratePerSecond, formatRate),
        numberCell(row.shareOfCapacity, formatShare),
        numberCell(row.latencyNs, formatTime),
        { text: row.words },
      ],
    })),
  };
}

const PROBE_NAMES: Record<ProbeResult["id"], string> = {
  "buffered-write": "sequential write, buffered",
  "direct-write": "sequential write, direct",
  "sync-overwrite": "overwrite and fdatasync",
  "sync-append": "append and fdatasync",
  "random-read": "random read",
  "sequential-read": "sequential read",
};

/** The device as measured before the trials, and by how much it was another after them. */
export function probeTable(run: Run): Table {
  return withoutEmptyColumns({
    id: "probe-table",
    caption: "The device, measured before the trials in the directory that they use, and again after them.",
    columns: [
      text("what", "Measured"),
      text("tool", "By"),
      number("block", "Block"),
      number("operations", "Operations"),
      number("bandwidth", "Bandwidth"),
      number("rate", "Operations a second"),
      number("after", "Afterwards"),
      number("median", "Median"),
      number("p99", "p99"),
      text("notes", "Notes"),
    ],
    rows: run.probe.map((probe) => {
      const isMissing = probe.unavailable !== null;
      const latency = probe.latency === null ? null : summariseLatency([probe.latency], false);
      return {
        isMuted: isMissing || probe.tool === "fio",
        cells: [
          { text: PROBE_NAMES[probe.id] },
          { text: probe.tool },
          { text: blockWords(probe.blockSizeBytes), value: probe.blockSizeBytes },
          isMissing ? NOTHING : numberCell(probe.operations, groupThousands),
          isMissing ? NOTHING : numberCell(probe.bytesPerSecond, formatBytesPerSecond),
          isMissing ? NOTHING : numberCell(probe.operationsPerSecond, formatRate),
          afterwardsCell(probe, run.probeAfter),
          latency === null ? NOTHING : percentileCell(latency.percentiles[0]!),
          p99Cell(latency),
          { text: probe.unavailable ?? (probe.tool === "fio" ? "cross-check" : "") },
        ],
      };
    }),
  });
}

/** The bandwidth after the trials, with its change below. */
function afterwardsCell(probe: ProbeResult, after: readonly ProbeResult[]): Cell {
  const same = after.find(
    ({ id, tool, blockSizeBytes }) => id === probe.id && tool === probe.tool && blockSizeBytes === probe.blockSizeBytes,
  );
  if (same === undefined || same.unavailable !== null || probe.unavailable !== null) return NOTHING;
  const note = changeWords(same.bytesPerSecond / probe.bytesPerSecond - 1);
  return { text: formatBytesPerSecond(same.bytesPerSecond), value: same.bytesPerSecond, note };
}

/** Every trial as it was, in the order of the run. */
export function rawTrialTable(run: Run, analysis: RunAnalysis): Table {
  const scenarios = new Map(analysis.scenarios.map((scenario) => [scenario.record.id, scenario]));
  return {
    id: "raw-trials-table",
    caption: "Every trial in the order of the run. run.json beside this file has their whole histograms and samples.",
    columns: [
      number("order", "Order"),
      text("scenario", "Scenario"),
      text("point", "Point"),
      text("engine", "Engine"),
      text("load", "Load"),
      number("repetition", "Repetition"),
      number("seed", "Seed"),
      text("status", "Status"),
      text("class", "Class"),
      number("acknowledged", "Acknowledged"),
      number("durable", "Durable"),
      number("median", "Response median"),
      number("p99", "Response p99"),
      number("warmup", "Warm-up"),
      text("verification", "Read back"),
    ],
    rows: [...run.trials]
      .sort((a, b) => a.order - b.order)
      .map((trial) => ({
        isMuted: trial.status === "failed",
        cells: rawTrialCells(trial, scenarios.get(trial.scenarioId)),
      })),
  };
}

function rawTrialCells(trial: Trial, scenario: ScenarioAnalysis | undefined): Cell[] {
  // What a failed trial measured is how it fell behind, and no figure.
  const measured = trial.status === "ok" ? trial.measured : null;
  const response = measured === null ? null : summariseLatency([measured.responseTime], false);
  const point = scenario?.axes.map((axis) => valueWords(axis, trial.point[axis.path] ?? "")).join(", ");
  return [
    { text: String(trial.order) },
    { text: trial.scenarioId },
    { text: point ?? JSON.stringify(trial.point) },
    { text: trial.engine },
    { text: (isUntried(trial) ? loadWords : loadWordsWithRate)(trial.configuration.load) },
    { text: String(trial.repetition) },
    { text: String(trial.seed) },
    statusCell(trial),
    { text: measured?.durabilityClass ?? "–" },
    numberCell(measured?.acknowledged.messagesPerSecond ?? null, formatRate),
    numberCell(measured?.durable.messagesPerSecond ?? null, formatRate),
    response === null ? NOTHING : percentileCell(response.percentiles[0]!),
    p99Cell(response),
    measured === null
      ? NOTHING
      : { text: `${formatTime(measured.warmupNs)}${measured.steady ? "" : ", not steady"}`, value: measured.warmupNs },
    { text: verificationWords(trial) },
  ];
}

function statusCell({ status, failureKind, measured }: Trial): Cell {
  const waiting = failureKind === "rate" ? (measured?.backlogAtEnd ?? null) : null;
  return waiting === null ? { text: status } : { text: status, note: `${groupThousands(waiting)} due and not sent` };
}

function verificationWords(trial: Trial): string {
  const { verification } = trial;
  if (verification === null) return "not reached";
  if (verification.outcome === "not-applicable") return "stores nothing";
  if (verification.outcome === "failed") return `failed: ${verification.problems.join("; ")}`;
  const { readMessages, deletedMessages = 0 } = verification;
  const deleted = deletedMessages === 0 ? "" : `; ${groupThousands(deletedMessages)} older ones deleted by retention`;
  return `${groupThousands(readMessages)} messages, all as acknowledged${deleted}`;
}

/** Where a failed trial stood: "many-partitions, partitions 10 000, partitioned-log, closed loop, 1 024 in flight". */
export function trialWords(scenario: ScenarioAnalysis, trial: Trial): string {
  const values = scenario.axes.map((axis) => trial.point[axis.path] ?? "");
  const where = pointWords(scenario.axes, { key: "", values });
  return [trial.engine, where, loadWords(trial.configuration.load), `repetition ${trial.repetition}`]
    .filter((part) => part !== "")
    .join(", ");
}

/** A scenario without baselines has no shares, a short run no high percentiles: columns of dashes tell nothing. */
export function withoutEmptyColumns(table: Table): Table {
  const isKept = table.columns.map((_, i) =>
    table.rows.some(({ cells }) => ![NOTHING.text, ""].includes(cells[i]!.text)),
  );
  return {
    ...table,
    columns: table.columns.filter((_, i) => isKept[i]),
    rows: table.rows.map((row) => ({ ...row, cells: row.cells.filter((_, i) => isKept[i]) })),
  };
}

export function text(name: string, label: string) {
  return { name, label, isNumber: false };
}

export function number(name: string, label: string) {
  return { name, label, isNumber: true };
}

export function axisColumns(scenario: ScenarioAnalysis): Table["columns"] {
  return scenario.axes.map((axis, i) => ({
    name: `axis${i}`,
    label: capitalised(axisName(axis)),
    isNumber: axis.isNumeric,
  }));
}

export function axisCells(scenario: ScenarioAnalysis, group: Group): Cell[] {
  return scenario.axes.map((axis, i) => {
    const value = group.point.values[i]!;
    return { text: axisValueWords(axis, value), ...(typeof value === "number" ? { value } : {}) };
  });
}

/** The engine with its class, the loop with its load: no figure of the row stands without them. */
export function engineCells(group: Group): Cell[] {
  const { load, trials, missedCount } = group;
  const isNeverTried =
    load.model === "open" && load.ratePerSecond === UNTRIED_RATE && trials.length + missedCount === 0;
  return [
    { text: group.engine, note: classWithPlace(group.durabilityClasses) },
    load.model === "closed"
      ? { text: "closed loop", note: `${groupThousands(load.inFlight)}\u00a0in flight` }
      : {
          text: `open loop, ${formatShare(load.capacityFraction)}`,
          note: `of capacity, ${isNeverTried ? "never tried" : formatRate(load.ratePerSecond)}, ${ARRIVAL_WORDS[load.arrivals]}`,
        },
  ];
}

/** All that is known of it is that it was too slow. */
function isMissed({ trials, missedCount, load }: Group): boolean {
  return trials.length === 0 && missedCount > 0 && load.model === "open";
}

function trialsCell({ trials: { length }, failedCount, missedCount, load }: Group): Cell {
  const isRate = missedCount === failedCount && load.model === "open";
  const failed = `+${failedCount} failed${isRate ? ": rate not met" : ""}`;
  return { text: String(length), value: length, ...(failedCount > 0 ? { note: failed } : {}) };
}

export function numberCell(value: number | null, format: (value: number) => string): Cell {
  return value === null ? NOTHING : { text: format(value), value };
}

/** Of trials; nothing where none of them has the figure. */
export function medianCell(values: readonly number[], format: (value: number) => string): Cell {
  return numberCell(values.length === 0 ? null : median(values), format);
}

function estimateCell(estimate: Estimate | null, format: (value: number) => string): Cell {
  if (estimate === null) return NOTHING;
  return {
    text: format(estimate.point),
    value: estimate.point,
    ...noteOf(intervalWords(estimate, format)),
  };
}

/** Below the figure, where there is something to say. */
function noteOf(note: string | null): { note?: string } {
  return note === null ? {} : { note };
}

/** Its grade beside a figure that is not valid. */
function graded(cell: Cell, grade: Grade): Cell {
  if (cell === NOTHING || grade === "valid") return cell;
  return { ...cell, note: cell.note === undefined ? grade : `${cell.note}, ${grade}` };
}

function ratioCell(ratio: Estimate | undefined): Cell {
  if (ratio === undefined) return NOTHING;
  return {
    text: formatRatio(ratio.point),
    value: ratio.point,
    ...noteOf(intervalWords(ratio, threeDigits)),
  };
}

function pairCell(scenario: ScenarioAnalysis, pair: Group["ofRaw"]): Cell {
  if (pair === null) return NOTHING;
  const { acknowledged, durable } = pair;
  const shown = `${formatShare(acknowledged.share.point)} / ${formatShare(durable.share.point)}`;
  return {
    text: shown,
    value: acknowledged.share.point,
    ...shareNote(scenario, acknowledged, [acknowledged, durable]),
  };
}

function shareCell(scenario: ScenarioAnalysis, share: Share | null): Cell {
  if (share === null) return NOTHING;
  return { text: formatShare(share.share.point), value: share.share.point, ...shareNote(scenario, share, [share]) };
}

/** Intervals of the shares, and where the limit was measured if that was elsewhere. */
function shareNote(scenario: ScenarioAnalysis, reference: Share, shares: readonly Share[]): { note?: string } {
  const intervals = shares.flatMap(({ share }) => intervalWords(share, formatShare) ?? []);
  const where = reference.referencePoint;
  const place = where === null ? [] : [`limit at ${pointWords(scenario.axes, where)}`];
  const parts = [...(intervals.length === 0 ? [] : [intervals.join(" / ")]), ...place];
  return noteOf(parts.length === 0 ? null : parts.join("; "));
}

function debtCell({ pageCacheDebt, dirtyBytesAtEnd, finalFlushNs }: Group): Cell {
  if (pageCacheDebt === null) return NOTHING;
  const dirty = dirtyBytesAtEnd === null ? [] : [`${formatBytes(dirtyBytesAtEnd)}\u00a0dirty`];
  const flush = finalFlushNs === null ? [] : [`${formatTime(finalFlushNs)}\u00a0flush`];
  return {
    text: formatShare(pageCacheDebt),
    value: pageCacheDebt,
    ...noteOf([...dirty, ...flush].join(", ") || null),
  };
}

function deviceCell(group: Group): Cell {
  if (group.ofDevice === null) return NOTHING;
  const { acknowledged, durable } = group.ofDevice;
  if (acknowledged === null && durable === null) return NOTHING;
  const shown = [acknowledged, durable].map((share) => (share === null ? "–" : formatShare(share)));
  return { text: shown.join(" / "), ...(durable === null ? {} : { value: durable }) };
}

function percentileCell(figure: PercentileFigure): Cell {
  if (figure.valueNs === null) return NOTHING;
  const text = figure.state === "uncertain" ? `≈\u00a0${formatTime(figure.valueNs)}` : formatTime(figure.valueNs);
  if (figure.lowerNs === null || figure.upperNs === null) return { text, value: figure.valueNs };
  return { text, value: figure.valueNs, note: rangeWords(figure.lowerNs, figure.upperNs, formatTime) };
}

function p99Cell(summary: LatencySummary | null): Cell {
  const figure = summary?.percentiles.find(({ percentile }) => percentile === 99);
  return figure === undefined ? NOTHING : percentileCell(figure);
}

function blockWords(sizeBytes: number): string {
  if (sizeBytes % 2 ** 20 === 0) return `${sizeBytes / 2 ** 20}\u00a0MiB`;
  return sizeBytes % 2 ** 10 === 0 ? `${sizeBytes / 2 ** 10}\u00a0KiB` : `${groupThousands(sizeBytes)}\u00a0B`;
}

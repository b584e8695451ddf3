/**
 * Whether a figure may be believed: `valid`, `doubtful` (shown with its reasons; sentences that rest on it say so) or
 * `invalid` (shown, never used). Pure, over the stored run: the same file is always graded the same.
 *
 * A trial's three figures are graded apart, because what spoils one may leave another whole: bytes that the kernel still
 * held do not make a durable throughput wrong. Nobody's value is looked at, only how it came about, so that leaving out
 * an invalid trial is no trimming. A figure that an older run stored too little about is not blamed for that.
 */
import { percentileNs } from "./histogram.js";
import type { Measured, Run, Trial } from "./schema.js";
import { syncCost } from "./sync-cost.js";

export type Grade = "valid" | "doubtful" | "invalid";
export type FigureName = "acknowledged" | "durable" | "responseTime";

/** A whole sentence; reasons of one kind differ in their numbers only. */
interface Reason {
  readonly kind: string;
  /** What it makes of the figure by itself. */
  readonly grade: Exclude<Grade, "valid">;
  readonly text: string;
}

export interface Judgement {
  readonly grade: Grade;
  /** The gravest first; empty if valid. */
  readonly reasons: readonly Reason[];
}

export type Validity = Readonly<Record<FigureName, Judgement>>;

/** What of a trial bears on its figures. */
export interface Gradable extends Pick<Trial, "engine" | "measured" | "verification"> {
  readonly configuration: Pick<Trial["configuration"], "settings">;
}

/** What of a run bears on each of its figures. */
export interface Circumstances {
  /** Of the machine, or of the control group where that has less. */
  readonly memoryBytes: number;
  /** By the probe; null: not measured. */
  readonly isSyncFree: boolean | null;
  /** Other writers on the device make a figure doubtful, and invalid only if most of the bytes are theirs. */
  readonly allowsNeighbours: boolean;
}

export const FIGURE_NAMES: readonly FigureName[] = ["acknowledged", "durable", "responseTime"];

/** Stolen share of the machine's time: below the gate's smallest margin (3 %), and as large as the slow-down it rules out. */
const STEAL_DOUBTFUL = 0.02;
const STEAL_INVALID = 0.1;
/** Method rule 25: another writer of more than 5 % of the device's bytes; of more than half, the figure is not the trial's. */
export const FOREIGN_LIMIT = 0.05;
const FOREIGN_MOST = 0.5;
/** Page rounding, inodes and the log of a system at rest. */
const FOREIGN_FLOOR_BYTES = 1 << 20;
/** A journal's commit: descriptor, commit block and six blocks of metadata of 4 KiB, and those six again in their places. */
const JOURNAL_BYTES_PER_SYNC = (2 + 6 + 6) * 4096;
/** Of what was acknowledged in the interval, what may still be dirty at its end: as rule 25 counts what is negligible. */
const DIRTY_LEFT_DOUBTFUL = 0.05;
/** Method rule 8: a disk test writes at least twice the memory. */
const CACHED_MEMORY_FACTOR = 2;
/**
 * Method rule 12: with more than 1 % of what was due unsent a rate was not met, unless that is no more than a pause would
 * leave: 50 ms' worth, or a tenth of the interval. What is worse fails a trial (runners/load-generator.ts).
 */
const BACKLOG_DOUBTFUL = 0.01;
const PAUSE_NS = 50_000_000;
const PAUSE_SHARE = 0.1;
/** Method rule 15: a timer's grain; a generator that is later than that half of the time does not follow its schedule. */
const LAG_DOUBTFUL_NS = 1_000_000;
/** Method rule 27: publish from 100 samples beyond a percentile on, suppress below 10. */
const EXCEEDANCES_VALID = 100;
const EXCEEDANCES_SHOWN = 10;
/** Compared and gated: the p99. */
const TAIL_SHARE = 0.01;
/** Wall-clock readings are good to a millisecond each side; the kernel slews by at most 500 ppm (adjtimex(2)). */
const CLOCK_TOLERANCE_NS = 10_000_000;
const CLOCK_SLEW = 500e-6;
/** A limit that differs by more before and after the trials, as large as the smallest slow-down that the gate rules out. */
const DRIFT_DOUBTFUL = 0.1;
/** `raw` and `null` have one file or none: no roll is to be expected of them. */
const WITHOUT_ROLLS: ReadonlySet<string> = new Set(["raw", "null"]);

interface Finding extends Reason {
  readonly figures: readonly FigureName[];
  /** Larger is graver, within one kind. */
  readonly extent: number;
}

export function circumstancesOf(run: Pick<Run, "environment" | "probe" | "allowsNeighbours">): Circumstances {
  const { memoryBytes, memoryLimitBytes } = run.environment;
  return {
    memoryBytes: memoryLimitBytes ?? memoryBytes,
    isSyncFree: syncCost(run.probe).isFree,
    allowsNeighbours: run.allowsNeighbours,
  };
}

/** A failed trial has no figures: all three are invalid. */
export function gradeTrial(trial: Gradable, circumstances: Circumstances): Validity {
  const { measured } = trial;
  if (measured === null)
    return everywhere({ grade: "invalid", reasons: [{ kind: "failed", grade: "invalid", text: "The trial failed." }] });
  const tail = tooFewSamples(measured.responseTime.sampleCount);
  return judge([...findings(trial, measured, circumstances), ...(tail === null ? [] : [tail])]);
}

/**
 * A cell is scenario × engine × point × load; its figures rest on the trials that are not invalid (see `usableTrials`).
 * Samples of its trials are merged, so that a percentile may have enough of them where each trial has not.
 * @param drift of the limits that the cell was held against, from before to after the trials: 0.1 = 10 %; null: unknown
 */
export function gradeCell(
  trials: readonly Trial[],
  circumstances: Circumstances,
  drift: number | null = null,
): Validity {
  const ok = trials.filter((trial) => trial.measured !== null);
  if (ok.length === 0)
    return everywhere({
      grade: "invalid",
      reasons: [{ kind: "failed", grade: "invalid", text: "No trial has figures." }],
    });
  const judged = FIGURE_NAMES.map((figure): [FigureName, Judgement] => {
    const used = usableTrials(ok, figure, circumstances);
    const all = ok.flatMap((trial) => findings(trial, trial.measured!, circumstances)).filter(concerns(figure));
    if (used.length === 0) {
      return [
        figure,
        judgementOf(
          gravestOfKind(
            all.filter(({ grade }) => grade === "invalid"),
            ok.length,
          ),
        ),
      ];
    }
    // What made some trials invalid makes the cell, which goes without them, doubtful.
    const remaining = all.map((finding) => ({ ...finding, grade: "doubtful" as const }));
    const found = gravestOfKind(remaining, ok.length);
    if (used.length < ok.length) found.unshift(leftOut(figure, ok.length - used.length, ok.length));
    if (drift !== null && Math.abs(drift) > DRIFT_DOUBTFUL) found.push(drifted(figure, drift));
    const tail = figure === "responseTime" ? tooFewSamples(sampleCount(used)) : null;
    return [figure, judgementOf(tail === null ? found : [...found, tail])];
  });
  return Object.fromEntries(judged) as Record<FigureName, Judgement>;
}

/** Those on which a figure may rest. Too few samples spoil a trial's percentile, but not its part in a merged one. */
export function usableTrials(trials: readonly Trial[], figure: FigureName, circumstances: Circumstances): Trial[] {
  return trials.filter(({ status, measured }, at) => {
    if (status === "failed" || measured === null) return false;
    return !findings(trials[at]!, measured, circumstances).some(
      (finding) => finding.grade === "invalid" && concerns(figure)(finding),
    );
  });
}

/**
 * Whether its acknowledgements are of the page cache: messages handed to the kernel (D0, D1) whose log would fit into
 * half the memory (method rule 8).
 */
function isCached(trial: Gradable, { memoryBytes }: Circumstances): boolean {
  const { measured } = trial;
  return (
    measured !== null &&
    !storesNothing(trial) &&
    acknowledgesFromMemory(measured) &&
    measured.counters.logBytes < CACHED_MEMORY_FACTOR * memoryBytes
  );
}

/** The graver of two grades. */
export function worse(left: Grade, right: Grade): Grade {
  const order: readonly Grade[] = ["valid", "doubtful", "invalid"];
  return order[Math.max(order.indexOf(left), order.indexOf(right))]!;
}

function findings(trial: Gradable, measured: Measured, circumstances: Circumstances): Finding[] {
  const found = [
    clockStep(measured),
    steal(measured),
    rateNotMet(measured),
    behindSchedule(measured),
    notSteady(measured),
    ...(storesNothing(trial)
      ? []
      : [
          freeSync(measured, circumstances),
          otherWriters(measured, circumstances),
          dirtyLeft(measured),
          cached(trial, circumstances),
          noRoll(trial, measured),
        ]),
  ];
  return found.filter((finding) => finding !== null);
}

function clockStep({ clockStepNs, durable, warmupNs }: Measured): Finding | null {
  if (clockStepNs === null) return null;
  const extent = Math.abs(clockStepNs);
  if (extent <= CLOCK_TOLERANCE_NS + CLOCK_SLEW * (warmupNs + durable.durationNs)) return null;
  return {
    kind: "clock",
    grade: "invalid",
    figures: FIGURE_NAMES,
    text: `The wall clock and the monotonic clock came apart by ${milliseconds(extent)} during the trial: a clock was set, or the machine was suspended.`,
    extent,
  };
}

/** Weighted by the samples' lengths. */
function steal({ samples }: Measured): Finding | null {
  const known = samples.filter(({ stealFraction }) => stealFraction !== null);
  const totalNs = sum(known.map(({ durationNs }) => durationNs));
  if (totalNs === 0) return null;
  const share = sum(known.map(({ stealFraction, durationNs }) => stealFraction! * durationNs)) / totalNs;
  if (share <= STEAL_DOUBTFUL) return null;
  return {
    kind: "steal",
    grade: share > STEAL_INVALID ? "invalid" : "doubtful",
    figures: FIGURE_NAMES,
    text: `The hypervisor withheld ${percent(share)} of the processors' time.`,
    extent: share,
  };
}

function rateNotMet({ backlogAtEnd, sentCount, acknowledged }: Measured): Finding | null {
  const backlog = backlogAtEnd ?? 0;
  const share = backlog / Math.max(1, backlog + sentCount);
  if (share <= BACKLOG_DOUBTFUL) return null;
  const isPause = share <= Math.min(PAUSE_SHARE, PAUSE_NS / acknowledged.durationNs);
  const words = isPause ? "The rate was met but for a pause at the end" : "The rate was not met";
  return {
    kind: "rate",
    grade: isPause ? "doubtful" : "invalid",
    figures: FIGURE_NAMES,
    text: `${words}: ${percent(share)} of the messages due were not sent when the interval ended.`,
    extent: share,
  };
}

function behindSchedule({ scheduleLag }: Measured): Finding | null {
  const lagNs = scheduleLag === null ? 0 : (percentileNs(scheduleLag, 50) ?? Number.POSITIVE_INFINITY);
  if (lagNs <= LAG_DOUBTFUL_NS) return null;
  return {
    kind: "schedule",
    grade: "doubtful",
    figures: ["responseTime"],
    text: `The load generator was behind its schedule: half of the messages were sent more than ${milliseconds(lagNs)} late.`,
    extent: lagNs,
  };
}

function notSteady({ steady, warmupNs }: Measured): Finding | null {
  if (steady) return null;
  return {
    kind: "steady",
    grade: "doubtful",
    figures: FIGURE_NAMES,
    text: `The throughput had not become steady when measuring began, after ${milliseconds(warmupNs)} of warm-up.`,
    extent: 0,
  };
}

/** Method rule 5: no sync number is quoted from a device whose sync is free. */
function freeSync({ durabilityClass }: Measured, { isSyncFree }: Circumstances): Finding | null {
  if (isSyncFree !== true) return null;
  const waits = durabilityClass === "D2" || durabilityClass === "D3";
  return {
    kind: "sync",
    grade: "invalid",
    figures: waits ? FIGURE_NAMES : ["durable"],
    text: "A sync costs nothing on this device, so it reaches no disk: what waited for one is not durable.",
    extent: 0,
  };
}

/**
 * Share of what the device wrote during the trial that was not the trial's own, journal commits counted as its own; below
 * 0 where it wrote less than it may have. Null: not known, or the engine stores nothing.
 */
export function foreignShare(trial: Pick<Gradable, "measured" | "verification">): number | null {
  return trial.measured === null || storesNothing(trial) ? null : foreignShareOf(trial.measured);
}

function foreignShareOf({ samples, ownDeviceBytes, dirtyBytesAtStart, counters }: Measured): number | null {
  if (ownDeviceBytes === null || samples.some(({ deviceWrittenBytes }) => deviceWrittenBytes === null)) return null;
  const written = sum(samples.map(({ deviceWrittenBytes }) => deviceWrittenBytes!));
  const explained = ownDeviceBytes + (dirtyBytesAtStart ?? 0) + counters.syncCalls * JOURNAL_BYTES_PER_SYNC;
  return (written - explained - FOREIGN_FLOOR_BYTES) / Math.max(1, written);
}

function otherWriters(measured: Measured, { allowsNeighbours }: Circumstances): Finding | null {
  const share = foreignShareOf(measured);
  if (share === null || share <= FOREIGN_LIMIT) return null;
  return {
    kind: "writers",
    grade: !allowsNeighbours || share > FOREIGN_MOST ? "invalid" : "doubtful",
    figures: FIGURE_NAMES,
    text: `Somebody else wrote to the device: ${percent(share)} of what it wrote during the trial is not the trial's own.`,
    extent: share,
  };
}

/** The rate of acknowledgements of a page cache that fills is not one that lasts. */
function dirtyLeft(measured: Measured): Finding | null {
  const { dirtyBytesAtEnd, acknowledged } = measured;
  if (dirtyBytesAtEnd === null || !acknowledgesFromMemory(measured)) return null;
  const payloadBytes = (acknowledged.payloadBytesPerSecond * acknowledged.durationNs) / 1e9;
  const share = dirtyBytesAtEnd / Math.max(1, payloadBytes);
  if (share <= DIRTY_LEFT_DOUBTFUL) return null;
  return {
    kind: "dirty",
    grade: "doubtful",
    figures: ["acknowledged"],
    text: `When the interval ended ${megabytes(dirtyBytesAtEnd)} were still to be written back, against ${megabytes(payloadBytes)} acknowledged in it: the rate cannot be sustained for certain.`,
    extent: share,
  };
}

function cached(trial: Gradable, circumstances: Circumstances): Finding | null {
  if (!isCached(trial, circumstances)) return null;
  const { logBytes } = trial.measured!.counters;
  return {
    kind: "cached",
    grade: "doubtful",
    figures: ["acknowledged", "responseTime"],
    text: `Cached: the trial wrote ${megabytes(logBytes)}, less than twice the memory (${megabytes(circumstances.memoryBytes)}), so this is a figure of the page cache and not of the disk.`,
    extent: -logBytes,
  };
}

function noRoll(trial: Gradable, { filesRolledInside, counters }: Measured): Finding | null {
  const isExpected = "segmentSizeBytes" in trial.configuration.settings && !WITHOUT_ROLLS.has(trial.engine);
  if (!isExpected || filesRolledInside === null) return null;
  if (filesRolledInside > 0) {
    // Method rule 18: the first of all rolls is part of the warm-up.
    if (counters.filesRolled > filesRolledInside) return null;
    return {
      kind: "first-roll",
      grade: "doubtful",
      figures: FIGURE_NAMES,
      text: "The first roll of a segment or file fell into the interval: the warm-up had none, so that code had never run.",
      extent: 0,
    };
  }
  return {
    kind: "roll",
    grade: "doubtful",
    figures: FIGURE_NAMES,
    text: "No segment or file was rolled within the interval, so what a roll costs is not in the figure.",
    extent: 0,
  };
}

function tooFewSamples(samples: number): Finding | null {
  const beyond = Math.floor(samples * TAIL_SHARE);
  if (beyond >= EXCEEDANCES_VALID) return null;
  return {
    kind: "samples",
    grade: beyond < EXCEEDANCES_SHOWN ? "invalid" : "doubtful",
    figures: ["responseTime"],
    text: `Only ${beyond} ${beyond === 1 ? "sample lies" : "samples lie"} beyond the p99; ${EXCEEDANCES_VALID} are needed to publish it.`,
    extent: -beyond,
  };
}

function leftOut(figure: FigureName, count: number, of: number): Finding {
  const text = `${count} of ${of} trials were invalid and are left out.`;
  return { kind: "left-out", grade: "doubtful", figures: [figure], text, extent: count };
}

function drifted(figure: FigureName, drift: number): Finding {
  return {
    kind: "drift",
    grade: "doubtful",
    figures: [figure],
    text: `The limit at this point changed by ${drift > 0 ? "+" : "−"}${percent(Math.abs(drift))} from before to after the trials: the machine was not the same throughout.`,
    extent: Math.abs(drift),
  };
}

/** Of each kind the gravest, saying in how many trials it was found. */
function gravestOfKind(all: readonly Finding[], trialCount: number): Finding[] {
  const byKind = new Map<string, Finding[]>();
  for (const finding of all) byKind.set(finding.kind, [...(byKind.get(finding.kind) ?? []), finding]);
  return [...byKind.values()].map((same) => {
    const gravest = same.reduce((most, one) => (one.extent > most.extent ? one : most));
    if (trialCount === 1 || same.length === trialCount) return gravest;
    return { ...gravest, text: `${gravest.text.replace(/\.$/, "")} (in ${same.length} of ${trialCount} trials).` };
  });
}

function judge(all: readonly Finding[]): Validity {
  const judged = FIGURE_NAMES.map((figure) => [figure, judgementOf(all.filter(concerns(figure)))]);
  return Object.fromEntries(judged) as Record<FigureName, Judgement>;
}

function judgementOf(all: readonly Finding[]): Judgement {
  const grade = all.reduce<Grade>((gravest, finding) => worse(gravest, finding.grade), "valid");
  const ordered = [...all].sort((a, b) => Number(b.grade === "invalid") - Number(a.grade === "invalid"));
  return { grade, reasons: ordered.map(({ kind, grade: own, text }) => ({ kind, grade: own, text })) };
}

function concerns(figure: FigureName): (finding: Finding) => boolean {
  return ({ figures }) => figures.includes(figure);
}

function everywhere(judgement: Judgement): Validity {
  return { acknowledged: judgement, durable: judgement, responseTime: judgement };
}

function storesNothing({ verification }: Pick<Gradable, "verification">): boolean {
  return verification?.outcome === "not-applicable";
}

function acknowledgesFromMemory({ durabilityClass }: Measured): boolean {
  return durabilityClass === "D0" || durabilityClass === "D1";
}

function sampleCount(trials: readonly Trial[]): number {
  return sum(trials.map(({ measured }) => measured!.responseTime.sampleCount));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(2))} %`;
}

function milliseconds(nanoseconds: number): string {
  return `${Number((nanoseconds / 1e6).toPrecision(3))} ms`;
}

function megabytes(bytes: number): string {
  return `${Number((bytes / 1e6).toPrecision(3))} MB`;
}

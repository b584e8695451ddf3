import { z } from "zod";
import { seededRandom, shuffle } from "../results/random.js";
import {
  type Environment,
  type Load,
  type ProbeResult,
  probeResultSchema,
  type Run,
  type Trial,
  UNTRIED_RATE,
} from "../results/schema.js";
import { median } from "../results/statistics.js";
import type { RunStore } from "../results/store.js";
import { syncCost } from "../results/sync-cost.js";
import { circumstancesOf, usableTrials } from "../results/validity.js";
import { compareWithFio } from "./agreement.js";
import { type IsUsable, missingOf, nextUnit, repetitionCount, type Unit, unitsOf, unresolvedOf } from "./budget.js";
import { ChildFailedError, runChild } from "./child-process.js";
import type { DataDirectory } from "./data-directory.js";
import { probeWithFio } from "./fio.js";
import { identityOf } from "./identity.js";
import { measureTimeOf } from "./measure-time.js";
import { PayloadFileError } from "./payload-pool.js";
import { cellName, type PlannedTrial, repeated } from "./plan.js";
import type { ProbeInput } from "./probe-protocol.js";
import type { Progress } from "./progress.js";
import type { Repeats } from "./repeats.js";
import type { Profile } from "./scenario.js";
import { settle } from "./settle.js";
import { type TrialInput, type TrialOutcome, trialOutcomeSchema } from "./trial-protocol.js";

/** Enough to be above what a sync costs; eight rounds of both sides must not take minutes. */
const LARGEST_AGREEMENT_BYTES = 256 * 1024 * 1024;
const PROBE_LIMIT_MS = 120_000;

export interface Execution {
  readonly store: RunStore;
  readonly dataDirectory: DataDirectory;
  readonly profile: Profile;
  readonly progress: Progress;
  readonly repeats: Repeats;
  readonly deviceStatPath: string | null;
  readonly environment: Environment;
  readonly code: Run["code"];
  /** Aborted by Ctrl-C: the trial under way is killed and not kept. */
  readonly signal: AbortSignal;
}

/** Measures the device before anything else does, and once more with fio; `notes` say so where that is not installed. */
export async function probeDevice(
  execution: Execution,
  seed: number,
): Promise<{ results: ProbeResult[]; notes: string[] }> {
  const { profile, dataDirectory, signal } = execution;
  const directory = dataDirectory.makeTrialDirectory();
  const input: ProbeInput = { directory, seed, ...profile.probe };
  const limits = { timeLimitMs: PROBE_LIMIT_MS + 10 * profile.probe.durationMs, signal };
  const own = await runChild("probe-process.js", input, z.array(probeResultSchema), limits);
  const crossCheck = await probeWithFio(input, signal);
  dataDirectory.clear();
  return crossCheck === null
    ? { results: own, notes: ["fio is not installed: the device probe was not cross-checked."] }
    : { results: [...own, ...crossCheck], notes: [] };
}

/** Writes the probe's file in turns with fio. @returns null where fio is not installed, or failed */
export async function compareDeviceWithFio({ dataDirectory, profile, signal }: Execution): Promise<Run["agreement"]> {
  const directory = dataDirectory.makeTrialDirectory();
  try {
    return await compareWithFio(directory, Math.min(profile.probe.fileSizeBytes, LARGEST_AGREEMENT_BYTES), signal);
  } finally {
    dataDirectory.clear();
  }
}

/** What remains of a run's time: the trials', without the probe and the reports that follow them. */
export interface Budget {
  /** On the clock of `Date.now`. */
  readonly deadlineMs: number;
  readonly maximumRepetitions: number;
}

/**
 * Runs the planned trials one after the other and stores each as it ends; what the store already has is not run again. A
 * trial that fails does not stop the others. With a budget, the plan's first repetition of everything is followed by
 * whole blocks where the intervals are widest (`budget.ts`), and the time for the last limits is kept.
 */
export async function executeTrials(
  planned: readonly PlannedTrial[],
  execution: Execution,
  budget: Budget | null = null,
): Promise<void> {
  const rounds = new Rounds(execution);
  if (budget === null) {
    await rounds.run(planned);
    return;
  }
  const of = (phase: Trial["phase"]) => planned.filter((trial) => trial.phase === phase);
  const [before, trials, after] = [of("before"), of("trials"), of("after")];
  const firstPass = trials.filter(({ repetition }) => repetition === 0);
  const units = unitsOf(trials, execution.store.run.scenarios);
  const blockCount = () =>
    units.reduce((sum, unit) => sum + repetitionCount(unit, rounds.finished) * unit.cells.length, 0);
  const plan = () => Math.max(firstPass.length, blockCount()) + before.length + after.length;
  execution.store.plan(plan());
  const circumstances = circumstancesOf(execution.store.run);
  const isUsable: IsUsable = (trial, figure) => usableTrials([trial], figure, circumstances).length > 0;
  const remainingMs = () => budget.deadlineMs - Date.now() - rounds.costMs(after, before);
  await rounds.run(before, () => budget.deadlineMs > Date.now());
  await rounds.run(firstPass, (next) => remainingMs() > rounds.costMs([next]));
  for (;;) {
    if (remainingMs() <= 0 || execution.signal.aborted) break;
    // A run that was killed within a block ends that block first.
    const torn = units.flatMap((unit) => missingOf(unit, rounds.finished));
    const limits = {
      ...budget,
      remainingMs: remainingMs(),
      costMs: (unit: Unit) => rounds.costMs(unit.cells),
      isUsable,
    };
    const unit = torn.length > 0 ? null : nextUnit(units, rounds.finished, limits);
    if (torn.length === 0 && unit === null) break;
    const block = unit === null ? torn : blockOf(unit, repetitionCount(unit, rounds.finished));
    const { seed, plannedTrialCount } = execution.store.run;
    if (unit !== null) execution.store.plan(plannedTrialCount + block.length);
    await rounds.run(block.map(({ cell, repetition }) => repeated(cell, repetition, seed)));
  }
  await rounds.run(after, () => budget.deadlineMs > Date.now());
  execution.store.setUnresolved(unresolvedOf(units, rounds.finished, isUsable));
}

/**
 * Whether an engine or its data failed in any trial of the run, those before it was resumed included: a rate that was not
 * met is a finding, not a failure of the run.
 */
export function hasFault({ trials, searches }: Pick<Run, "trials" | "searches">): boolean {
  return [...trials, ...searches.flatMap(({ steps }) => steps.map(({ trial }) => trial))].some(isFaulty);
}

export function isFaulty({ failureKind }: Trial): boolean {
  return failureKind === "engine" || failureKind === "data";
}

/** The engines in turns: in every other block in the reversed order of the one before. */
function blockOf({ cells }: Unit, repetition: number): { cell: PlannedTrial; repetition: number }[] {
  const order = shuffle([...cells], seededRandom(cells[0]!.seed + Math.floor(repetition / 2)));
  if (repetition % 2 === 1) order.reverse();
  return order.map((cell) => ({ cell, repetition }));
}

/** Runs trials, stores them, and knows what they take. */
class Rounds {
  readonly #elapsedMs = new Map<string, { totalMs: number; count: number }>();

  constructor(private readonly execution: Execution) {}

  get finished(): readonly Trial[] {
    return this.execution.store.run.trials;
  }

  /** @param isTimeFor asked before each trial; the first no ends the round */
  async run(trials: readonly PlannedTrial[], isTimeFor: (next: PlannedTrial) => boolean = () => true): Promise<void> {
    const { store, progress, signal } = this.execution;
    for (const next of trials) {
      if (signal.aborted) return;
      if (this.finished.some(({ trialId }) => trialId === next.trialId)) continue;
      if (!isTimeFor(next)) return;
      progress.begin(this.finished.length, store.run.plannedTrialCount, next.trialId);
      const startedMs = Date.now();
      const trial = await executeTrial({ ...next, order: this.finished.length }, this.execution);
      if (signal.aborted) return;
      this.#learn(next, Date.now() - startedMs);
      store.appendTrial(trial);
      for (const failure of trial.failures) progress.note(`Failed: ${trial.trialId}: ${failure}`);
    }
  }

  /** What trials of these cells will take: as others of their cell, or of `likeness`, or of any did on average. */
  costMs(trials: readonly PlannedTrial[], likeness: readonly PlannedTrial[] = []): number {
    const mean = (all: readonly ({ totalMs: number; count: number } | undefined)[]) => {
      const known = all.filter((one) => one !== undefined);
      const count = known.reduce((sum, one) => sum + one.count, 0);
      return count === 0 ? null : known.reduce((sum, one) => sum + one.totalMs, 0) / count;
    };
    const of = (trial: PlannedTrial) => this.#elapsedMs.get(cellName(trial));
    const likely = mean(likeness.map(of)) ?? mean([...this.#elapsedMs.values()]) ?? 0;
    return trials.reduce((sum, trial) => sum + (mean([of(trial)]) ?? likely), 0);
  }

  #learn(trial: PlannedTrial, elapsedMs: number): void {
    const known = this.#elapsedMs.get(cellName(trial)) ?? { totalMs: 0, count: 0 };
    this.#elapsedMs.set(cellName(trial), { totalMs: known.totalMs + elapsedMs, count: known.count + 1 });
  }
}

/**
 * Runs one trial in a fresh process and directory, and again, within bounds, if others wrote to the device meanwhile.
 * @param given the load instead of the planned one
 * @throws PayloadFileError when the file of payloads is not what it was when the run was planned
 */
export function executeTrial(planned: PlannedTrial, execution: Execution, given: Load | null = null): Promise<Trial> {
  return execution.repeats.untilUndisturbed(planned.trialId, () => attemptTrial(planned, execution, given));
}

async function attemptTrial(planned: PlannedTrial, execution: Execution, given: Load | null): Promise<Trial> {
  const { dataDirectory, profile, signal } = execution;
  const remainingBytes = await settle(profile.settleMs, signal);
  const startedAt = new Date().toISOString();
  const startedNs = process.hrtime.bigint();
  const load = given ?? resolveLoad(planned, execution.store.run.trials);
  const directory = dataDirectory.makeTrialDirectory();
  const configuration = { ...planned.configuration, load: load ?? impossibleLoad(planned) };
  const rate = load?.model === "open" ? load.ratePerSecond : null;
  const measureTime = measureTimeOf(planned, rate, profile, execution.store.run.probe);
  const measureNs = measureTime?.durationNs ?? profile.measureMs * 1e6;
  const outcome =
    load === null ? noCapacity() : await runTrial({ planned, directory, configuration, measureNs, execution });
  dataDirectory.clear();
  const failureKind = outcome.status === "failed" ? outcome.kind : null;
  if (failureKind === "input") throw new PayloadFileError(failuresOf(outcome).join(" "));
  const warnings = [...outcome.warnings];
  if (remainingBytes !== null && remainingBytes > 0) {
    warnings.push(`${Math.round(remainingBytes / 1e6)} MB were still waiting to be written back when the trial began.`);
  }
  const { trialId, scenarioId, engine, point, repetition, phase, limits, order, seed } = planned;
  return {
    trialId,
    scenarioId,
    engine,
    point,
    repetition,
    phase,
    limits: limits === null ? null : [...limits],
    order,
    seed,
    configuration,
    startedAt,
    durationNs: Number(process.hrtime.bigint() - startedNs),
    disturbedAttempts: [],
    ...(measureTime === null ? {} : { measureTime }),
    identity: identityOf(planned, { code: execution.code, fingerprint: execution.environment.fingerprint, profile }),
    status: outcome.status,
    failureKind,
    failures: failuresOf(outcome),
    warnings,
    verification: outcome.verification,
    measured: outcome.measured === null ? null : withDevice(outcome.measured, execution),
  };
}

function failuresOf(outcome: TrialOutcome): string[] {
  return outcome.status === "failed" ? outcome.failures : [];
}

async function runTrial(options: {
  planned: PlannedTrial;
  directory: string;
  configuration: Trial["configuration"];
  /** How long to measure, if the bytes of the profile allow it. */
  measureNs: number;
  execution: Execution;
}): Promise<TrialOutcome> {
  const { planned, directory, configuration, measureNs, execution } = options;
  const { profile, signal, deviceStatPath } = execution;
  const { warmup } = profile;
  const maximumMessages = messageLimit(profile.maximumBytes, planned);
  const warmupMessages = messageLimit(warmup.maximumBytes, planned);
  const rate = configuration.load.model === "open" ? configuration.load.ratePerSecond : 0;
  const input: TrialInput = {
    engine: planned.source,
    directory,
    configuration,
    seed: planned.seed,
    limits: {
      warmup: {
        minimumNs: warmup.minimumMs * 1e6,
        maximumNs: boundedNs(warmup.maximumMs * 1e6, rate, warmupMessages),
        maximumMessages: warmupMessages,
        binNs: warmup.binMs * 1e6,
        windowBins: warmup.windowBins,
      },
      measure: { durationNs: boundedNs(measureNs, rate, maximumMessages), maximumMessages },
    },
    sampleIntervalMs: profile.sampleIntervalMs,
    deviceStatPath,
  };
  try {
    return await runChild("trial.js", input, trialOutcomeSchema, { timeLimitMs: profile.trialLimitMs, signal });
  } catch (error) {
    if (!(error instanceof ChildFailedError)) throw error;
    return failedBefore("engine", error.message);
  }
}

/** How many messages fit into the space; what keeps nothing needs none. */
function messageLimit(maximumBytes: number, { storesMessages, configuration }: PlannedTrial): number {
  return storesMessages ? Math.ceil(maximumBytes / configuration.messages.sizeBytes) : Number.MAX_SAFE_INTEGER;
}

/** An open load sends on schedule, so the bound on its messages shortens it beforehand. */
function boundedNs(wantedNs: number, ratePerSecond: number, maximumMessages: number): number {
  return ratePerSecond === 0 ? wantedNs : Math.min(wantedNs, (maximumMessages / ratePerSecond) * 1e9);
}

/** Null when an open load has no capacity to take its fraction of. */
function resolveLoad(planned: PlannedTrial, finished: readonly Trial[]): Load | null {
  if (planned.load.model === "closed") return planned.load;
  // Repetitions are repetitions of one rate, whatever was learnt about the capacity since.
  const name = cellName(planned);
  const earlier = finished.find((trial) => trial.measured !== null && cellName(trial) === name)?.configuration.load;
  if (earlier?.model === "open") return { ...planned.load, ratePerSecond: earlier.ratePerSecond };
  const capacities = finished
    .filter((trial) => trial.scenarioId === planned.scenarioId && trial.engine === planned.engine)
    .filter((trial) => trial.configuration.load.model === "closed" && samePoint(trial.point, planned.point))
    .flatMap(({ status, measured }) => (status === "ok" ? measured!.acknowledged.messagesPerSecond : []));
  if (capacities.length === 0) return null;
  const ratePerSecond = median(capacities) * planned.load.capacityFraction;
  return ratePerSecond > 0 ? { ...planned.load, ratePerSecond } : null;
}

function samePoint(left: Readonly<Record<string, unknown>>, right: Readonly<Record<string, unknown>>): boolean {
  const paths = Object.keys(left);
  return paths.length === Object.keys(right).length && paths.every((path) => left[path] === right[path]);
}

/** The load of an open trial that could not run, for the record. */
function impossibleLoad(planned: PlannedTrial): Load {
  return planned.load.model === "closed" ? planned.load : { ...planned.load, ratePerSecond: UNTRIED_RATE };
}

function noCapacity(): TrialOutcome {
  const reason = "Its rate is a fraction of the capacity, and no closed-loop trial of this engine and point succeeded.";
  return failedBefore("rate", reason);
}

/** It failed without anything measured. */
function failedBefore(kind: "engine" | "rate", reason: string): TrialOutcome {
  return { status: "failed", kind, failures: [reason], measured: null, verification: null, warnings: [] };
}

/** D2 becomes D3 where the device has no volatile write cache, and the probe saw that a sync costs something. */
function withDevice(
  measured: NonNullable<Trial["measured"]>,
  { environment, store }: Execution,
): NonNullable<Trial["measured"]> {
  const isSafe = environment.device.writeCache === "write through" && syncCost(store.run.probe).isFree === false;
  return measured.durabilityClass === "D2" && isSafe ? { ...measured, durabilityClass: "D3" } : measured;
}

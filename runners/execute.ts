import { z } from "zod";
import { type Environment, type Load, type ProbeResult, probeResultSchema, type Trial } from "../results/schema.js";
import { median } from "../results/statistics.js";
import type { RunStore } from "../results/store.js";
import { syncCost } from "../results/sync-cost.js";
import { ChildFailedError, runChild } from "./child-process.js";
import type { DataDirectory } from "./data-directory.js";
import { probeWithFio } from "./fio.js";
import type { PlannedTrial } from "./plan.js";
import type { ProbeInput } from "./probe-protocol.js";
import type { Progress } from "./progress.js";
import type { Profile } from "./scenario.js";
import { settle } from "./settle.js";
import { type TrialInput, type TrialOutcome, trialOutcomeSchema } from "./trial-protocol.js";

const PROBE_LIMIT_MS = 120_000;

export interface Execution {
  readonly store: RunStore;
  readonly dataDirectory: DataDirectory;
  readonly profile: Profile;
  readonly progress: Progress;
  readonly deviceStatPath: string | null;
  readonly environment: Environment;
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

/**
 * Runs the planned trials one after the other and stores each as it ends. A trial that fails does not stop the others.
 * Where the profile's time does not suffice, later repetitions are left out of the plan as a whole, so that every point
 * keeps as many trials as every other.
 * @returns whether an engine or its data failed: a rate that was not met is a finding, not a failure of the run
 */
export async function executeTrials(
  planned: readonly PlannedTrial[],
  execution: Execution,
): Promise<{ engineFailed: boolean }> {
  const { store, progress, profile, signal } = execution;
  const budgetMs = profile.budgetMs ?? Number.POSITIVE_INFINITY;
  const startedMs = Date.now();
  let trials = planned;
  let engineFailed = false;
  for (let index = 0; index < trials.length; index++) {
    const elapsedMs = Date.now() - startedMs;
    if (elapsedMs > budgetMs) break;
    if (beginsBlock(trials, index)) trials = affordableTrials(trials, index, budgetMs / elapsedMs);
    const next = trials[index];
    if (next === undefined) break;
    progress.begin(index, trials.length, next.trialId);
    const { trial, isFault } = await executeTrial(next, execution);
    if (signal.aborted) break;
    store.appendTrial(trial);
    engineFailed ||= isFault;
    for (const failure of trial.failures) progress.note(`Failed: ${trial.trialId}: ${failure}`);
  }
  if (trials.length < planned.length) {
    const sufficed = `${repetitionCount(trials)} of ${repetitionCount(planned)} repetitions`;
    store.reducePlan(trials.length, `The profile's time sufficed for ${sufficed}.`);
  }
  return { engineFailed };
}

/** Whether another repetition of the closed loops is about to begin. */
function beginsBlock(trials: readonly PlannedTrial[], index: number): boolean {
  const next = trials[index]!;
  return index > 0 && next.load.model === "closed" && next.repetition !== trials[index - 1]!.repetition;
}

/**
 * Leaves out as many repetitions as must be, at the pace of the trials so far; not those of which closed loops are done.
 * @param doneCount trials done, @param budgetFactor the whole time by the time that those took
 */
function affordableTrials(
  trials: readonly PlannedTrial[],
  doneCount: number,
  budgetFactor: number,
): readonly PlannedTrial[] {
  const doneRepetitions = trials[doneCount]!.repetition;
  for (let count = repetitionCount(trials); ; count--) {
    const kept = trials.filter(({ repetition }) => repetition < count);
    if (count === doneRepetitions || kept.length <= doneCount * budgetFactor) return kept;
  }
}

function repetitionCount(trials: readonly PlannedTrial[]): number {
  return Math.max(...trials.map(({ repetition }) => repetition)) + 1;
}

async function executeTrial(planned: PlannedTrial, execution: Execution): Promise<{ trial: Trial; isFault: boolean }> {
  const { dataDirectory, profile, signal } = execution;
  const remainingBytes = await settle(profile.settleMs, signal);
  const startedAt = new Date().toISOString();
  const startedNs = process.hrtime.bigint();
  const load = resolveLoad(planned, execution.store.run.trials);
  const directory = dataDirectory.makeTrialDirectory();
  const configuration = { ...planned.configuration, load: load ?? impossibleLoad(planned) };
  const outcome = load === null ? noCapacity() : await runTrial({ planned, directory, configuration, execution });
  dataDirectory.clear();
  const warnings = [...outcome.warnings];
  if (remainingBytes !== null && remainingBytes > 0) {
    warnings.push(`${Math.round(remainingBytes / 1e6)} MB were still waiting to be written back when the trial began.`);
  }
  const { trialId, scenarioId, engine, point, repetition, order, seed } = planned;
  const trial: Trial = {
    trialId,
    scenarioId,
    engine,
    point,
    repetition,
    phase: "trials",
    limits: null,
    order,
    seed,
    configuration,
    startedAt,
    durationNs: Number(process.hrtime.bigint() - startedNs),
    identity: null,
    status: outcome.status,
    failures: outcome.status === "failed" ? outcome.failures : [],
    warnings,
    verification: outcome.verification,
    measured: outcome.status === "ok" ? withDevice(outcome.measured, execution) : null,
  };
  return { trial, isFault: outcome.status === "failed" && outcome.kind !== "rate" };
}

async function runTrial(options: {
  planned: PlannedTrial;
  directory: string;
  configuration: Trial["configuration"];
  execution: Execution;
}): Promise<TrialOutcome> {
  const { planned, directory, configuration, execution } = options;
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
        maximumNs: boundedNs(warmup.maximumMs, rate, warmupMessages),
        maximumMessages: warmupMessages,
        binNs: warmup.binMs * 1e6,
        windowBins: warmup.windowBins,
      },
      measure: { durationNs: boundedNs(profile.measureMs, rate, maximumMessages), maximumMessages },
    },
    sampleIntervalMs: profile.sampleIntervalMs,
    deviceStatPath,
  };
  try {
    return await runChild("trial.js", input, trialOutcomeSchema, { timeLimitMs: profile.trialLimitMs, signal });
  } catch (error) {
    if (!(error instanceof ChildFailedError)) throw error;
    return { status: "failed", kind: "engine", failures: [error.message], verification: null, warnings: [] };
  }
}

/** How many messages fit into the space; what keeps nothing needs none. */
function messageLimit(maximumBytes: number, { storesMessages, configuration }: PlannedTrial): number {
  return storesMessages ? Math.ceil(maximumBytes / configuration.messages.sizeBytes) : Number.MAX_SAFE_INTEGER;
}

/** An open load sends on schedule, so the bound on its messages shortens it beforehand. */
function boundedNs(milliseconds: number, ratePerSecond: number, maximumMessages: number): number {
  const boundMs = ratePerSecond === 0 ? Number.POSITIVE_INFINITY : (maximumMessages / ratePerSecond) * 1000;
  return Math.min(milliseconds, boundMs) * 1e6;
}

/** Null when an open load has no capacity to take its fraction of. */
function resolveLoad(planned: PlannedTrial, finished: readonly Trial[]): Load | null {
  if (planned.load.model === "closed") return planned.load;
  const capacities = finished
    .filter((trial) => trial.scenarioId === planned.scenarioId && trial.engine === planned.engine)
    .filter((trial) => trial.configuration.load.model === "closed" && samePoint(trial.point, planned.point))
    .flatMap((trial) => trial.measured?.acknowledged.messagesPerSecond ?? []);
  if (capacities.length === 0) return null;
  const ratePerSecond = median(capacities) * planned.load.capacityFraction;
  return ratePerSecond > 0 ? { ...planned.load, ratePerSecond } : null;
}

function samePoint(left: Readonly<Record<string, unknown>>, right: Readonly<Record<string, unknown>>): boolean {
  const paths = Object.keys(left);
  return paths.length === Object.keys(right).length && paths.every((path) => left[path] === right[path]);
}

/** The load of an open trial that could not run, for the record: any positive rate is as good. */
function impossibleLoad(planned: PlannedTrial): Load {
  return planned.load.model === "closed" ? planned.load : { ...planned.load, ratePerSecond: 1 };
}

function noCapacity(): TrialOutcome {
  const reason = "Its rate is a fraction of the capacity, and no closed-loop trial of this engine and point succeeded.";
  return { status: "failed", kind: "rate", failures: [reason], verification: null, warnings: [] };
}

/** D2 becomes D3 where the device has no volatile write cache, and the probe saw that a sync costs something. */
function withDevice(
  measured: NonNullable<Trial["measured"]>,
  { environment, store }: Execution,
): NonNullable<Trial["measured"]> {
  const isSafe = environment.device.writeCache === "write through" && syncCost(store.run.probe).isFree === false;
  return measured.durabilityClass === "D2" && isSafe ? { ...measured, durabilityClass: "D3" } : measured;
}

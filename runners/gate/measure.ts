import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { z } from "zod";
import type { DurabilityClass } from "../../results/schema.js";
import { ChildFailedError, type ChildOptions, runChild } from "../child-process.js";
import type { DataDirectory } from "../data-directory.js";
import { settle } from "../settle.js";
import { BROKEN_CLAIM } from "../trial-protocol.js";
import type { Arm } from "./blocks.js";
import { FIGURES_OF_UNMET_RATE, type Reading, readFigures } from "./figures.js";
import { gradeAnswer } from "./grade.js";
import type { DuetProcessors } from "./processors.js";
import { listen } from "./quiet.js";
import { type RecoveryInput, recoveryOutcomeSchema } from "./recovery-protocol.js";
import { countedAnswerSchema, type FailedAnswer, trialAnswerSchema, trialOrder } from "./trial-exchange.js";
import { type CountedWorkload, MESSAGES, type TimedWorkload, TOPOLOGY, type Workload } from "./workloads.js";

/** An engine under the gate: on each arm it is what `loadEngine` takes there. */
export interface Subject {
  readonly name: string;
  readonly sources: Readonly<Record<Arm, string>>;
}

/** What all trials of a gate share. */
export interface Bench {
  readonly builds: Readonly<Record<Arm, string>>;
  /** Over the workload's own settings. */
  readonly settings: Readonly<Record<Arm, Readonly<Record<string, unknown>>>>;
  /** On the disk measured; emptied after every trial. */
  readonly dataDirectory: DataDirectory;
  /** What the two pairs of a duet are pinned to; null: they cannot be. */
  readonly duetProcessors: DuetProcessors | null;
  /** For small files between processes. */
  readonly scratchDirectory: string;
  readonly signal: AbortSignal;
}

/** An engine fell over, or its data were wrong: there is nothing to compare. */
export class TrialFailedError extends Error {
  override name = "TrialFailedError";
}

export interface Trial {
  readonly subject: Subject;
  readonly arm: Arm;
  /** Of payloads and arrivals: equal for all arms of a block. */
  readonly seed: number;
}

/** What a gate measures with; a test brings its own. */
export interface Instruments {
  /** On the clock of deadlines. */
  nowMs(): number;
  readonly measure: typeof measure;
  readonly count: typeof count;
  readonly listen: typeof listen;
}

export const REAL_INSTRUMENTS: Instruments = { nowMs: Date.now, measure, count, listen };

const SETTLE_MS = 2_000;
const TIME_LIMIT_MS = 60_000;
const YOUNG_GENERATION_MB = 256;
const RECOVERY_MODULE = new URL("./recovery.js", import.meta.url);
const TALLY_MODULE = new URL("./tally.js", import.meta.url);
const TALLY_FILE = "tally.json";

/**
 * Runs timed trials at the same time, each in fresh processes and a fresh directory: one, or the four of a duet, of which
 * the first two share one processor and the others another.
 * @param ratePerSecond of an open workload
 * @returns for each trial its figures by name; those that its own circumstances make invalid are marked
 * @throws TrialFailedError of the first that failed, when all have ended
 */
export async function measure(
  bench: Bench,
  workload: TimedWorkload,
  trials: readonly Trial[],
  ratePerSecond: number,
): Promise<Record<string, Reading>[]> {
  await settle(SETTLE_MS, bench.signal);
  const processors = trials.length > 1 ? bench.duetProcessors : null;
  const processorOf = (at: number) => processors?.[at < trials.length / 2 ? 0 : 1];
  try {
    const ended = await Promise.allSettled(
      trials.map((trial, at) => measureOne(bench, workload, trial, ratePerSecond, processorOf(at))),
    );
    return ended.map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    });
  } finally {
    bench.dataDirectory.clear();
  }
}

async function measureOne(
  bench: Bench,
  workload: TimedWorkload,
  trial: Trial,
  ratePerSecond: number,
  processor: number | undefined,
): Promise<Record<string, Reading>> {
  if (workload.kind === "recovery") return { recoveryTime: await recover(bench, workload, trial) };
  const outcome = await runTrial(bench, workload, trial, ratePerSecond, trialAnswerSchema, { processor });
  if (outcome.status === "ok") {
    requireKeptClaim(bench, trial, workload, outcome.warnings);
    const validity = gradeAnswer(outcome, trial.subject.name, workload.settings);
    return readFigures(workload.kind, outcome.measured, validity);
  }
  if (outcome.kind === "rate") return FIGURES_OF_UNMET_RATE;
  throw failed(bench, trial, workload, outcome.failures.join(" "));
}

/** What one counted trial gave. */
export interface Counted {
  /** By name; what could not be counted is missing. */
  readonly totals: Record<string, number>;
  /** What an acknowledgement meant; null where the build does not tell. */
  readonly durabilityClass: DurabilityClass | null;
}

/** Runs one counted trial. @throws TrialFailedError */
async function count(bench: Bench, workload: CountedWorkload, trial: Trial): Promise<Counted> {
  const tallyFile = join(bench.scratchDirectory, TALLY_FILE);
  const options = {
    nodeOptions: [
      `--min-semi-space-size=${YOUNG_GENERATION_MB}`,
      `--max-semi-space-size=${YOUNG_GENERATION_MB}`,
      `--import=${TALLY_MODULE.href}`,
    ],
    environment: { LOGDUEL_TALLY: tallyFile },
  };
  const outcome = await runTrial(bench, workload, trial, 0, countedAnswerSchema, options).finally(() =>
    bench.dataDirectory.clear(),
  );
  if (outcome.status === "failed") throw failed(bench, trial, workload, outcome.failures.join(" "));
  requireKeptClaim(bench, trial, workload, outcome.warnings);
  const { collections, allocatedBytes, ...tally } = JSON.parse(readFileSync(tallyFile, "utf8"));
  const { durabilityClass = null, counters: all } = outcome.measured;
  const { appendedMessages: _a, acknowledgedMessages: _b, ...counters } = all;
  return { totals: { ...counters, ...tally, ...(collections === 0 ? { allocatedBytes } : {}) }, durabilityClass };
}

/** An engine that acknowledged earlier than it says is fast for the wrong reason. @throws TrialFailedError */
function requireKeptClaim(bench: Bench, trial: Trial, workload: Workload, warnings: readonly string[]): void {
  const broken = warnings.find((warning) => warning.startsWith(BROKEN_CLAIM));
  if (broken !== undefined) throw failed(bench, trial, workload, broken);
}

async function runTrial<Answer>(
  bench: Bench,
  workload: Workload,
  { subject, arm, seed }: Trial,
  ratePerSecond: number,
  answerSchema: z.ZodType<Answer>,
  options: Partial<ChildOptions>,
): Promise<Answer | FailedAnswer> {
  const module = pathToFileURL(join(bench.builds[arm], "dist/runners/trial.js"));
  const order = trialOrder(workload, ratePerSecond, {
    engine: subject.sources[arm],
    directory: bench.dataDirectory.makeTrialDirectory(),
    settings: { ...workload.settings, ...bench.settings[arm] },
    seed,
  });
  const limits = { timeLimitMs: TIME_LIMIT_MS, signal: bench.signal };
  try {
    return await runChild(module, order, answerSchema, { ...limits, ...options });
  } catch (error) {
    if (!(error instanceof ChildFailedError)) throw error;
    return { status: "failed", kind: "engine", failures: [error.message] };
  }
}

/** A process fills a directory and is killed; another opens it. @returns how long that took, in nanoseconds */
async function recover(bench: Bench, workload: TimedWorkload, trial: Trial): Promise<number> {
  const { subject, arm } = trial;
  const input: Omit<RecoveryInput, "task"> = {
    build: bench.builds[arm],
    engine: subject.sources[arm],
    directory: bench.dataDirectory.makeTrialDirectory(),
    settings: { ...workload.settings, ...bench.settings[arm] },
    partitionCount: TOPOLOGY.partitionsPerTopic,
    messageCount: workload.measuredMessages,
    messageSizeBytes: MESSAGES.sizeBytes,
  };
  const limits = { timeLimitMs: TIME_LIMIT_MS, signal: bench.signal };
  try {
    const written = await runChild(RECOVERY_MODULE, { task: "write", ...input }, recoveryOutcomeSchema, limits);
    const opened = await runChild(RECOVERY_MODULE, { task: "open", ...input }, recoveryOutcomeSchema, limits);
    if (opened.messageCount >= written.messageCount) return opened.durationNs;
    const found = `${written.messageCount} messages were acknowledged, ${opened.messageCount} were there after recovery.`;
    throw failed(bench, trial, workload, found);
  } catch (error) {
    if (error instanceof ChildFailedError) throw failed(bench, trial, workload, error.message);
    throw error;
  }
}

function failed(bench: Bench, { subject, arm }: Trial, workload: Workload, what: string): Error {
  if (bench.signal.aborted) return bench.signal.reason;
  const side = arm === "candidate" ? "candidate" : "reference";
  return new TrialFailedError(`${subject.name}/${workload.id}, ${side}: ${what}`);
}

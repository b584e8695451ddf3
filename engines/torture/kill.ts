import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Driven } from "../engine.contract-driver.js";
import type { EngineDefinition } from "../engine.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import type { ChildTask } from "./child.js";
import { addLoss, noOutcome, type Outcome } from "./outcome.js";

const TOPIC = "kill";
const MAX_LIVES = 4;
const MAX_PARTITIONS = 6;
const MAX_ACKNOWLEDGED_BEFORE_KILL = 2_000;
const LONGEST_DELAY_MS = 40;
/** A child that says nothing for so long hangs. */
const SILENCE_MS = 15_000;

export interface KillTrial {
  readonly definition: EngineDefinition;
  /** Name or path by which the child loads the same engine. */
  readonly engine: string;
  /** Empty or not there; it is left as the last life left it. */
  readonly directory: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * The engine's format has checksums. Without, a write that the kill cut short may be served where blocks are
   * allocated in advance: not acknowledged, but the end of what can be checked.
   */
  readonly hasChecksums: boolean;
  /** Messages have keys, which the engine keeps (false). */
  readonly hasKeys?: boolean;
  /** Threads of the child that append beside the one that opens the directory (0); the settings must allow it. */
  readonly writerCount?: number;
  /** Determines sizes, order and when to kill; what is under way just then is the machine's affair. */
  readonly seed: number;
  /** Kills at once, and ends the trial. */
  readonly signal?: AbortSignal;
}

/** What was acknowledged of a partition, in the life of whoever acknowledged it. */
interface Claim {
  acknowledgedTo: number;
  /** In order: when the messages below `toOffset` had been acknowledged, by `performance.now`. */
  readonly acknowledgements: { readonly toOffset: number; readonly atMs: number }[];
}

interface State {
  readonly claims: readonly Claim[];
  /** A child had the directory open and was killed, and nobody has closed it since. */
  hasCrashed: boolean;
  /** An engine without checksums serves half a message. */
  isTorn: boolean;
  readonly outcome: Outcome;
}

/**
 * Several lives of one directory: each time a child appends and is killed with SIGKILL at a random moment, while it opens
 * the directory, too. After some lives this process recovers the directory, compares it with every acknowledgement that
 * came out of the children, appends a little and closes it; after the others the next child recovers it. The page cache
 * outlives a process, so under every flush policy all that was acknowledged has to be there.
 */
export async function killTrial(trial: KillTrial): Promise<Outcome> {
  const random = seededRandom(trial.seed);
  const claims = Array.from(
    { length: 1 + (trial.writerCount ?? 0) + Math.floor(random() * MAX_PARTITIONS) },
    (): Claim => ({ acknowledgedTo: 0, acknowledgements: [] }),
  );
  const state: State = { claims, hasCrashed: false, isTorn: false, outcome: noOutcome() };
  const lives = 1 + Math.floor(random() * MAX_LIVES);
  for (let life = 1; life <= lives && !state.isTorn && !trial.signal?.aborted; life++) {
    await liveAndDie(trial, random, state);
    const checks = random() < 0.5 || life === lives || !trial.hasChecksums;
    if (checks && state.outcome.wrongs.length === 0) await recoverAndCompare(trial, state);
    if (state.outcome.wrongs.length > 0) break;
  }
  return state.outcome;
}

async function liveAndDie(trial: KillTrial, random: () => number, state: State): Promise<void> {
  const { claims, outcome } = state;
  const task: ChildTask = {
    engine: trial.engine,
    directory: trial.directory,
    topic: TOPIC,
    settings: trial.settings,
    partitionCount: claims.length,
    writerCount: trial.writerCount ?? 0,
    hasKeys: trial.hasKeys ?? false,
    seed: Math.floor(random() * 2 ** 32),
  };
  const killsEarly = random() < 0.25;
  await killAfter(task, {
    messageCount: killsEarly ? 0 : 1 + Math.floor(random() * MAX_ACKNOWLEDGED_BEFORE_KILL),
    delayMs: Math.floor(random() * LONGEST_DELAY_MS),
    signal: trial.signal,
    opened: (index, endOffset) => {
      const { acknowledgedTo } = claims[index]!;
      // What the next child appended in the place of the lost would look just like it.
      if (endOffset < acknowledgedTo) lose(claims[index]!, index, endOffset, outcome);
      if (index > 0) return;
      if (state.hasCrashed) outcome.recoveries++;
      state.hasCrashed = true;
    },
    acknowledged: (index, baseOffset, messageCount) => {
      const claim = claims[index]!;
      if (baseOffset < claim.acknowledgedTo) {
        outcome.wrongs.push(`${TOPIC}-${index}: acknowledged ${baseOffset} a second time`);
      }
      claim.acknowledgedTo = baseOffset + messageCount;
      claim.acknowledgements.push({ toOffset: claim.acknowledgedTo, atMs: performance.now() });
      outcome.acknowledgedMessages += messageCount;
    },
  });
}

async function recoverAndCompare(trial: KillTrial, state: State): Promise<void> {
  const { claims, outcome } = state;
  const { definition, directory, settings } = trial;
  const { hasKeys = false } = trial;
  const driven = await Driven.open(definition, { directory, storage: new DiskStorage(), settings }, hasKeys);
  try {
    const { recovery } = driven.engine;
    outcome.recoveries++;
    outcome.repairs += recovery.repairs.length;
    if (state.hasCrashed && recovery.wasCleanShutdown)
      outcome.wrongs.push("a killed process is taken for a clean shutdown");
    for (const [index, claim] of claims.entries()) {
      const partition = driven.handleOf(TOPIC, index);
      const { rightTo, wrong } = partition === undefined ? NOTHING_LEFT : await driven.read(partition);
      if (rightTo < claim.acknowledgedTo) {
        lose(claim, index, rightTo, outcome, wrong);
      } else if (wrong !== null && partition !== undefined && !trial.hasChecksums) {
        state.isTorn = true;
      } else if (wrong !== null && partition !== undefined) {
        outcome.wrongs.push(`${TOPIC}-${index}: serves what was never appended: ${wrong}`);
      } else if (partition !== undefined) {
        const { endOffset } = driven.engine.partitionInfo(partition);
        if (rightTo !== endOffset)
          outcome.wrongs.push(`${TOPIC}-${index}: reads to ${rightTo} and claims ${endOffset}`);
        await driven.appendMany(partition, 5);
      }
    }
    await driven.engine.flush();
    outcome.wrongs.push(...driven.faults);
    if (outcome.wrongs.length === 0 && trial.hasChecksums) {
      outcome.wrongs.push(...(await driven.differencesByKey(TOPIC)));
    }
    for (const { index, acknowledgedTo, acknowledgements } of driven.progress.values()) {
      claims[index]!.acknowledgedTo = acknowledgedTo;
      claims[index]!.acknowledgements.push(...acknowledgements);
    }
    await driven.close();
    state.hasCrashed = false;
  } catch (error) {
    await driven.dispose();
    throw error;
  }
}

const NOTHING_LEFT = { rightTo: 0, wrong: "the partition is gone" };

function lose(claim: Claim, index: number, rightTo: number, outcome: Outcome, wrong: string | null = null): void {
  const { acknowledgedTo, acknowledgements } = claim;
  const lost = acknowledgements.find(({ toOffset }) => toOffset > rightTo);
  const oldestMs = lost === undefined ? 0 : acknowledgements.at(-1)!.atMs - lost.atMs;
  addLoss(outcome, { topic: TOPIC, index, fromOffset: rightTo, toOffset: acknowledgedTo, oldestMs });
  outcome.wrongs.push(
    `${TOPIC}-${index}: ${rightTo} of ${acknowledgedTo} acknowledged messages left (${wrong ?? "then the end"})`,
  );
  claim.acknowledgedTo = rightTo;
}

/**
 * Lets a child process append, kills it with SIGKILL `delayMs` after it has acknowledged `messageCount` messages (or, of
 * 0, after it began to open the directory), and tells what it said, up to its end.
 * @throws Error when the child ended by itself: what it complained of
 */
async function killAfter(
  task: ChildTask,
  when: {
    readonly messageCount: number;
    readonly delayMs: number;
    readonly signal?: AbortSignal | undefined;
    opened(index: number, endOffset: number): void;
    acknowledged(index: number, baseOffset: number, messageCount: number): void;
  },
): Promise<void> {
  const script = fileURLToPath(new URL("./child.js", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(task)], {
    stdio: ["ignore", "inherit", "pipe", "pipe"],
  });
  const kill = () => child.kill("SIGKILL");
  when.signal?.addEventListener("abort", kill);
  let timer = setTimeout(kill, SILENCE_MS);
  let isDoomed = false;
  let total = 0;
  let rest = "";
  let complaint = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    complaint += chunk;
  });
  (child.stdio[3] as Readable).on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [event, ...words] = line.split(" ");
      const [index, offset, messageCount] = words.map(Number);
      if (event === "opened") when.opened(index!, offset!);
      if (event !== "acknowledged") continue;
      when.acknowledged(index!, offset!, messageCount!);
      total += messageCount!;
    }
    if (isDoomed) return;
    timer.refresh();
    if (total < when.messageCount) return;
    isDoomed = true;
    clearTimeout(timer);
    timer = setTimeout(kill, when.delayMs);
  });
  const [exitCode] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  when.signal?.removeEventListener("abort", kill);
  if (exitCode !== null) throw new Error(`The child ended by itself with ${exitCode}: ${complaint.trim()}`);
  if (!isDoomed && !when.signal?.aborted)
    throw new Error(
      `The child acknowledged ${total} of ${when.messageCount} messages and then said nothing for ${SILENCE_MS} ms.`,
    );
}

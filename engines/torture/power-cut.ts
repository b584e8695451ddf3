import { dirname } from "node:path";
import { Driven, turn } from "../engine.contract-driver.js";
import type { EngineDefinition, PartitionHandle } from "../engine.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { addLoss, noOutcome, type Outcome } from "./outcome.js";
import { SimulatedClock } from "./simulated-clock.js";

export const MEMORY_DIRECTORY = "/data/engine";
/** So many storage calls, about, does a step lead to: in longer trials the cut may come later. */
const CALLS_PER_STEP = 3;
const LONGEST_STEP_MS = 20;
const LAST_RECOVERY_CALL_TO_CUT_AT = 40;
const ERROR_CODES = ["EIO", "ENOSPC", "EMFILE"];

export interface CrashTrial {
  readonly definition: EngineDefinition;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Determines the trial altogether: time passes on a clock of its own. */
  readonly seed: number;
  /** Appends, polls and the like before the power is cut at the latest. */
  readonly stepCount: number;
  /** Makes one storage call fail on the way to the cut. */
  readonly failsACall: boolean;
  /** Messages have keys, which the engine keeps (false). */
  readonly hasKeys?: boolean;
  /** The engine's format has checksums, so what it serves beyond the acknowledged is right, too. */
  readonly hasChecksums: boolean;
}

/** A storage in memory that holds the engine's directory, durably. */
export function storageWithDirectory(): FaultyStorage {
  const storage = new FaultyStorage();
  storage.makeDirectory(MEMORY_DIRECTORY);
  for (let path = MEMORY_DIRECTORY; path !== "/"; path = dirname(path)) storage.syncDirectory(dirname(path));
  return storage;
}

interface Cut {
  readonly image: FaultyStorage;
  /** The partitions at the moment of the cut. */
  readonly places: readonly Place[];
}

interface Place {
  readonly topic: string;
  readonly index: number;
  readonly appendedTo: number;
  readonly acknowledgedTo: number;
  /** How long before the cut the message at `offset` was acknowledged. */
  ageMs(offset: number): number;
}

/**
 * Appends until the power is cut at a random storage call, or between two steps, recovers from what the device may hold,
 * and compares with what had been acknowledged. Under `flush: "sync"` a loss is wrong; under the other policies it is
 * counted. Whatever is left has to be right under all of them, and the directory good for further appends.
 */
export async function powerCutTrial(trial: CrashTrial): Promise<Outcome> {
  const random = seededRandom(trial.seed);
  const clock = new SimulatedClock();
  try {
    const cut = await runToCut(trial, random, clock);
    let image = cut.image;
    const outcome = noOutcome();
    if (random() < 0.5) image = await cutRecovery(trial, image, random, outcome);
    const driven = await recover(trial, image, outcome);
    try {
      for (const place of cut.places) await compare(trial, driven, place, outcome);
      if (outcome.wrongs.length === 0 && trial.hasChecksums)
        outcome.wrongs.push(...(await goesOn(trial, image, driven)));
    } finally {
      await driven.dispose();
    }
    return outcome;
  } finally {
    clock.dispose();
  }
}

/** Reads a partition as recovered and adds what it lacks, or what is wrong with it, to the outcome. */
async function compare(trial: CrashTrial, driven: Driven, place: Place, outcome: Outcome): Promise<void> {
  const { topic, index, acknowledgedTo, appendedTo } = place;
  const { wrongs } = outcome;
  const partition = driven.handleOf(topic, index);
  const { rightTo, wrong } = partition === undefined ? NOTHING_LEFT : await driven.read(partition);
  outcome.acknowledgedMessages += acknowledgedTo;
  addLoss(outcome, { topic, index, fromOffset: rightTo, toOffset: acknowledgedTo, oldestMs: place.ageMs(rightTo) });
  if (rightTo < acknowledgedTo && trial.settings.flush === "sync") {
    wrongs.push(
      `${topic}-${index}: ${rightTo} of ${acknowledgedTo} acknowledged messages left (${wrong ?? "then the end"})`,
    );
  } else if (trial.hasChecksums && wrong !== null) {
    wrongs.push(`${topic}-${index}: serves what was never appended: ${wrong}`);
  } else if (trial.hasChecksums && rightTo > appendedTo) {
    wrongs.push(`${topic}-${index}: ends at ${rightTo} after ${appendedTo} appends`);
  } else if (trial.hasChecksums && partition !== undefined) {
    const { endOffset } = driven.engine.partitionInfo(partition);
    if (rightTo !== endOffset) wrongs.push(`${topic}-${index}: reads to ${rightTo} and claims ${endOffset}`);
  }
}

const NOTHING_LEFT = { rightTo: 0, wrong: "the partition is gone" };

async function runToCut(trial: CrashTrial, random: () => number, clock: SimulatedClock): Promise<Cut> {
  const storage = storageWithDirectory();
  let driven: Driven | undefined;
  let cut: Cut | undefined;
  const cutNow = () => {
    const cutMs = clock.nowMs;
    const places = [...(driven?.progress.values() ?? [])].map((progress): Place => {
      const { topic, index, appendedTo, acknowledgedTo, acknowledgements } = progress;
      const ageMs = (offset: number) =>
        cutMs - (acknowledgements.find(({ toOffset }) => toOffset > offset)?.atMs ?? cutMs);
      return { topic, index, appendedTo, acknowledgedTo, ageMs };
    });
    cut = { image: storage.powerCut(trial.seed), places };
  };
  let calls = 0;
  const callCount = trial.stepCount * CALLS_PER_STEP;
  const cutAt = 1 + Math.floor(random() * callCount);
  const failAt = trial.failsACall ? 1 + Math.floor((random() * callCount) / 2) : 0;
  const code = ERROR_CODES[Math.floor(random() * ERROR_CODES.length)]!;
  storage.fault = () => {
    calls++;
    if (calls === cutAt) cutNow();
    return calls === failAt && cut === undefined ? code : null;
  };
  try {
    driven = await open(trial, storage);
    await appendAtRandom(trial, driven, random, clock, () => cut !== undefined);
  } catch (error) {
    if (!isOperational(error)) throw error;
  }
  if (cut === undefined) cutNow();
  storage.fault = () => null;
  await driven?.dispose();
  return cut!;
}

async function appendAtRandom(
  trial: CrashTrial,
  driven: Driven,
  random: () => number,
  clock: SimulatedClock,
  isOver: () => boolean,
): Promise<void> {
  const handles: PartitionHandle[] = [];
  for (let step = 0; step < trial.stepCount && !isOver(); step++) {
    clock.nowMs += random() * LONGEST_STEP_MS;
    const choice = random();
    if (handles.length === 0 || choice < 0.03) {
      handles.push(...(await driven.createTopic(`topic${Math.floor(random() * 3)}`, 1 + Math.floor(random() * 3))));
    } else if (choice < 0.6) {
      const partition = handles[Math.floor(random() * handles.length)]!;
      for (let i = Math.floor(random() * 8); i >= 0; i--) driven.append(partition);
    } else if (choice < 0.8) {
      driven.engine.poll();
    } else if (choice < 0.98) {
      driven.engine.poll();
      for (let i = Math.floor(random() * 4); i >= 0; i--) await turn();
    } else {
      await driven.engine.flush();
    }
  }
}

/** Recovers with the power cut again on the way. @returns what the device may hold then */
async function cutRecovery(
  trial: CrashTrial,
  image: FaultyStorage,
  random: () => number,
  outcome: Outcome,
): Promise<FaultyStorage> {
  let calls = 0;
  let after: FaultyStorage | undefined;
  const cutAt = 1 + Math.floor(random() * LAST_RECOVERY_CALL_TO_CUT_AT);
  image.fault = () => {
    if (++calls === cutAt) after = image.powerCut(trial.seed + 1);
    return null;
  };
  const driven = await recover(trial, image, outcome);
  after ??= image.powerCut(trial.seed + 1);
  image.fault = () => null;
  await driven.dispose();
  return after;
}

/** Appends to what was recovered, closes, reopens and reads it all. */
async function goesOn(trial: CrashTrial, image: FaultyStorage, driven: Driven): Promise<string[]> {
  for (const partition of driven.progress.keys()) await driven.appendMany(partition, 3);
  await driven.engine.flush();
  const found = await driven.differences();
  await driven.engine.close();
  const again = await open(trial, image);
  try {
    found.push(...(await again.differences()));
    if (!again.engine.recovery.wasCleanShutdown) found.push("a clean close was not one");
  } finally {
    await again.dispose();
  }
  return found.map((difference) => `after going on: ${difference}`);
}

async function recover(trial: CrashTrial, image: FaultyStorage, outcome: Outcome): Promise<Driven> {
  const driven = await open(trial, image);
  outcome.recoveries++;
  outcome.repairs += driven.engine.recovery.repairs.length;
  return driven;
}

function open(trial: CrashTrial, storage: FaultyStorage): Promise<Driven> {
  const { definition, settings, hasKeys } = trial;
  return Driven.open(definition, { directory: MEMORY_DIRECTORY, storage, settings }, hasKeys);
}

/** What the disk did, or an engine's own word for it; everything else is a bug. */
export function isOperational(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && (ERROR_CODES.includes(code) || code.startsWith("ERR_"));
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { ChildTask } from "./engine.contract-child.js";
import { Driven, turn } from "./engine.contract-driver.js";
import type { EngineDefinition, PartitionHandle } from "./engine.js";
import { FaultyStorage, type StorageCall } from "./storage/faulty-storage.js";
import { seededRandom } from "./storage/seeded-random.js";

export const MEMORY_DIRECTORY = "/data/engine";
const STEPS = 120;
const LAST_CALL_TO_CUT_AT = 400;
const LAST_CALL_TO_FAIL_AT = 200;
const LAST_RECOVERY_CALL_TO_CUT_AT = 40;
const ERROR_CODES = ["EIO", "ENOSPC", "EMFILE"];

export interface CrashTrial {
  readonly definition: EngineDefinition;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly seed: number;
  /** Makes one storage call fail on the way to the cut. */
  readonly failsACall: boolean;
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
  /** Index = "topic index"; offsets at the moment of the cut. */
  readonly acknowledgedTo: ReadonlyMap<string, number>;
  readonly appendedTo: ReadonlyMap<string, number>;
}

/**
 * Appends under `flush: "sync"` until the power is cut at a random storage call, or between two steps, recovers from
 * what the device may hold, and compares with what had been acknowledged.
 * @returns what was lost or wrong; nothing, if all is well
 */
export async function powerCutTrial(trial: CrashTrial): Promise<string[]> {
  const random = seededRandom(trial.seed);
  const cut = await runToCut(trial, random);
  let image = cut.image;
  if (random() < 0.5) image = await cutRecovery(trial, image, random);
  const found: string[] = [];
  const driven = await open(trial, image);
  try {
    for (const [place, acknowledgedTo] of cut.acknowledgedTo) {
      const [topic, index] = place.split(" ") as [string, string];
      const partition = driven.handleOf(topic, Number(index));
      if (partition === undefined) {
        if (acknowledgedTo > 0) found.push(`${place}: lost with ${acknowledgedTo} acknowledged messages`);
        continue;
      }
      const { rightTo, wrong } = await driven.read(partition);
      if (rightTo < acknowledgedTo) {
        found.push(`${place}: ${rightTo} of ${acknowledgedTo} acknowledged messages left (${wrong ?? "then the end"})`);
      } else if (trial.hasChecksums && wrong !== null) {
        found.push(`${place}: serves what was never appended: ${wrong}`);
      } else if (trial.hasChecksums && rightTo > cut.appendedTo.get(place)!) {
        found.push(`${place}: ends at ${rightTo} after ${cut.appendedTo.get(place)} appends`);
      } else if (trial.hasChecksums && rightTo !== driven.engine.partitionInfo(partition).endOffset) {
        found.push(`${place}: reads to ${rightTo} and claims ${driven.engine.partitionInfo(partition).endOffset}`);
      }
    }
    if (found.length === 0 && trial.hasChecksums) found.push(...(await goesOn(trial, image, driven)));
  } finally {
    await driven.dispose();
  }
  return found;
}

async function runToCut(trial: CrashTrial, random: () => number): Promise<Cut> {
  const storage = storageWithDirectory();
  let driven: Driven | undefined;
  let cut: Cut | undefined;
  const cutNow = () => {
    const offsets = (which: "acknowledgedTo" | "appendedTo") =>
      new Map([...(driven?.progress.values() ?? [])].map((each) => [`${each.topic} ${each.index}`, each[which]]));
    cut = {
      image: storage.powerCut(trial.seed),
      acknowledgedTo: offsets("acknowledgedTo"),
      appendedTo: offsets("appendedTo"),
    };
  };
  let calls = 0;
  const cutAt = 1 + Math.floor(random() * LAST_CALL_TO_CUT_AT);
  const failAt = trial.failsACall ? 1 + Math.floor(random() * LAST_CALL_TO_FAIL_AT) : 0;
  const code = ERROR_CODES[Math.floor(random() * ERROR_CODES.length)]!;
  storage.fault = () => {
    calls++;
    if (calls === cutAt) cutNow();
    return calls === failAt && cut === undefined ? code : null;
  };
  try {
    driven = await open(trial, storage);
    await appendAtRandom(driven, random, () => cut !== undefined);
  } catch (error) {
    if (!isOperational(error)) throw error;
  }
  if (cut === undefined) cutNow();
  storage.fault = () => null;
  await driven?.dispose();
  return cut!;
}

async function appendAtRandom(driven: Driven, random: () => number, isOver: () => boolean): Promise<void> {
  const handles: PartitionHandle[] = [];
  for (let step = 0; step < STEPS && !isOver(); step++) {
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
async function cutRecovery(trial: CrashTrial, image: FaultyStorage, random: () => number): Promise<FaultyStorage> {
  let calls = 0;
  let after: FaultyStorage | undefined;
  const cutAt = 1 + Math.floor(random() * LAST_RECOVERY_CALL_TO_CUT_AT);
  image.fault = () => {
    if (++calls === cutAt) after = image.powerCut(trial.seed + 1);
    return null;
  };
  const driven = await open(trial, image);
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

function open(trial: CrashTrial, storage: FaultyStorage): Promise<Driven> {
  return Driven.open(trial.definition, { directory: MEMORY_DIRECTORY, storage, settings: trial.settings });
}

/** What the disk did, or an engine's own word for it; everything else is a bug. */
export function isOperational(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && (ERROR_CODES.includes(code) || code.startsWith("ERR_"));
}

/** Makes every call of `operation` fail with `code`. */
export function failing(operation: StorageCall["operation"], code: string): (call: StorageCall) => string | null {
  return (call) => (call.operation === operation ? code : null);
}

/**
 * Lets a child process append until it has acknowledged `messageCount` messages, kills it with SIGKILL, and waits for its
 * end. @returns how many messages it had acknowledged, index = partition
 */
export async function killAfter(task: ChildTask, messageCount: number): Promise<number[]> {
  const script = fileURLToPath(new URL("./engine.contract-child.js", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(task)], {
    stdio: ["ignore", "inherit", "pipe", "pipe"],
  });
  const acknowledged = new Array<number>(task.partitionCount).fill(0);
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
      const [, index, count] = line.split(" ").map(Number);
      acknowledged[index!]! += count!;
      total += count!;
    }
    if (total >= messageCount) child.kill("SIGKILL");
  });
  const [exitCode] = (await once(child, "close")) as [number | null];
  if (exitCode !== null) throw new Error(`The child ended by itself with ${exitCode}: ${complaint}`);
  return acknowledged;
}

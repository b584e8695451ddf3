/** A thread of lock.test.ts: adds to a number so that two threads in the lock at once would show, or dies in the lock. */
import { parentPort, workerData } from "node:worker_threads";
import { heap } from "../heap.js";
import { type LockKind, SharedLock } from "./lock.js";

export interface ContenderData {
  readonly holder: number;
  readonly kind: LockKind;
  /** Heap addresses of the lock's word, of the word that starts all at once, and of the number. */
  readonly lock: number;
  readonly start: number;
  readonly number: number;
  readonly rounds: number;
  readonly diesInside: boolean;
}

const data = workerData as ContenderData;
const { words, numbers } = heap;
const lock = new SharedLock(words, data.lock / 4, data.holder, data.kind, () => false);
parentPort!.postMessage("ready");
Atomics.wait(words, data.start / 4, 0);
for (let round = 0; round < data.rounds; round++) {
  if (!lock.acquire()) throw new Error("gave up");
  const before = numbers[data.number / 8]!;
  numbers[data.number / 8] = Number.NaN;
  for (let i = round % 64; i > 0; i--) Atomics.load(words, data.start / 4); // time for others to come in
  numbers[data.number / 8] = before + 1;
  if (data.diesInside) process.exit(0);
  lock.release();
}

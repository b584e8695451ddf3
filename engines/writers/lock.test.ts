import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, it, vi } from "vitest";
import { heap } from "../heap.js";
import type { ContenderData } from "./lock.contender.js";
import { LOCK_KINDS, type LockKind, SharedLock } from "./lock.js";

const memory = heap.allocate(256, 64);
const [LOCK, START, NUMBER] = [memory, memory + 64, memory + 128];
afterAll(() => heap.release(memory));

/** Lets `count` threads take the lock `rounds` times each. @returns the number to which each added `rounds` */
async function contend(kind: LockKind, count: number, rounds: number, diesInside = false): Promise<number> {
  heap.bytes.fill(0, memory, memory + 256);
  const workers = Array.from({ length: count }, (_, i) => {
    const workerData: ContenderData = {
      ...{ holder: i + 1, kind, rounds, diesInside },
      ...{ lock: LOCK, start: START, number: NUMBER },
    };
    return new Worker(new URL("./lock.contender.js", import.meta.url), { workerData });
  });
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const ends = workers.map((worker) => once(worker, "exit"));
  Atomics.store(heap.words, START / 4, 1);
  Atomics.notify(heap.words, START / 4);
  expect(await Promise.all(ends)).toEqual(workers.map(() => [0]));
  return heap.numbers[NUMBER / 8]!;
}

describe.each(LOCK_KINDS)("a %s lock", (kind) => {
  it.each([1, 2, 4, 8])("lets in one of %i threads at a time, and all of them in the end", async (count) => {
    expect(await contend(kind, count, 20_000)).toBe(count * 20_000);
    expect(Atomics.load(heap.words, LOCK / 4)).toBe(0);
  });

  it("wakes one sleeper when it is released, and makes no call when nobody sleeps", () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    const lock = new SharedLock(words, 0, 1, kind, () => false);
    const notify = vi.spyOn(Atomics, "notify");
    expect(lock.acquire()).toBe(true);
    lock.release();
    expect(notify).not.toHaveBeenCalled();
    expect(lock.acquire()).toBe(true);
    Atomics.or(words, 0, 1); // as whoever goes to sleep does
    lock.release();
    expect(notify.mock.calls).toEqual([[words, 0, 1]]);
    notify.mockRestore();
  });

  it("tells who holds it when its holder has died, and does not make others wait without hope", async () => {
    await contend(kind, 1, 1, true);
    let looks = 0;
    const lock = new SharedLock(heap.words, LOCK / 4, 2, kind, () => ++looks === 3);
    expect(lock.holder).toBe(1);
    expect(lock.tryAcquire()).toBe(false);
    expect(lock.acquire()).toBe(false);
    expect(looks).toBe(3);
  });
});

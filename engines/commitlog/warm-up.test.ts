import { afterEach, beforeEach, expect, it } from "vitest";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { MappedFile } from "./mapped-file.js";
import { WarmUp } from "./warm-up.js";

const MIB = 1 << 20;
const FILE_BYTES = 16 * MIB;
const GEOMETRY = { windowBytes: 16 * MIB, overlapBytes: 65_536 };

let file: MappedFile;
let next: MappedFile;
let warmUp: WarmUp;
let populatedBytes: number[];

beforeEach(() => {
  const storage = new FaultyStorage();
  populatedBytes = [];
  storage.fault = ({ operation, sizeBytes }) => {
    if (operation === "populate") populatedBytes.push(sizeBytes);
    return null;
  };
  file = MappedFile.create(storage, heap, GEOMETRY, "/a", 0, FILE_BYTES, true);
  next = MappedFile.create(storage, heap, GEOMETRY, "/b", FILE_BYTES, FILE_BYTES, true);
  warmUp = new WarmUp("ahead");
});

afterEach(async () => {
  await warmUp.settled();
  file.close();
  next.close();
});

it("stays ahead by whole large pages, and does nothing while it is far enough", async () => {
  await step(0, 0);
  expect(warmUp.warmedTo % (2 * MIB)).toBe(0);
  const ahead = warmUp.warmedTo;
  expect(warmUp.dueAt).toBeGreaterThan(0);
  expect(warmUp.dueAt).toBeLessThan(ahead);
  await step(warmUp.dueAt, 60);
  expect(warmUp.warmedTo).toBeGreaterThan(ahead);
  expect(sum()).toBe(warmUp.warmedTo);
});

it("is not due while a step is under way", async () => {
  warmUp.step(0, 0, file, next);
  expect(warmUp.dueAt).toBe(Number.POSITIVE_INFINITY);
  warmUp.step(FILE_BYTES, 0, file, next);
  await warmUp.settled();
  expect(populatedBytes).toHaveLength(1);
});

it("goes farther ahead of fast appends than of slow ones", async () => {
  const aheadAfter = async (msPerStep: number) => {
    warmUp = new WarmUp("ahead");
    await step(0, 0);
    await step(MIB, msPerStep);
    await step(2 * MIB, 2 * msPerStep);
    return warmUp.warmedTo - 2 * MIB;
  };
  expect(await aheadAfter(1_000)).toBe(2 * MIB);
  expect(await aheadAfter(1)).toBe(8 * MIB);
});

it("leaves the page being written to the writer when it has been overtaken", async () => {
  await step(0, 0);
  populatedBytes = [];
  const endOffset = warmUp.warmedTo + MIB + 1;
  await step(endOffset, 1);
  expect(warmUp.warmedTo - sum()).toBe(Math.ceil(endOffset / (2 * MIB)) * 2 * MIB);
});

it("goes on in the next file, and rests when there is none", async () => {
  for (let now = 0; warmUp.warmedTo < FILE_BYTES; now++) await step(Math.max(0, warmUp.warmedTo - 1), now);
  await step(FILE_BYTES - 1, 100, null);
  expect(warmUp.warmedTo).toBe(FILE_BYTES);
  await step(FILE_BYTES - 1, 200);
  expect(warmUp.warmedTo).toBeGreaterThan(FILE_BYTES);
});

it("warms whole files, without an end of the log to be near, when asked to", async () => {
  warmUp = new WarmUp("file");
  for (let now = 0; now < 20; now++) if (warmUp.dueAt <= 1) await step(1, now);
  expect(warmUp.warmedTo).toBe(2 * FILE_BYTES);
  expect(sum()).toBe(2 * FILE_BYTES - 1);
});

it("is never due when nothing is to be warmed", () => {
  expect(new WarmUp("none").dueAt).toBe(Number.POSITIVE_INFINITY);
});

it("goes on when the pages could not be faulted in", async () => {
  const storage = new FaultyStorage();
  storage.fault = ({ operation }) => (operation === "populate" ? "ENOMEM" : null);
  const refusing = MappedFile.create(storage, heap, GEOMETRY, "/c", 0, FILE_BYTES, true);
  warmUp.step(0, 0, refusing, null);
  await warmUp.settled();
  expect(warmUp.dueAt).toBeLessThan(Number.POSITIVE_INFINITY);
  refusing.close();
});

async function step(endOffset: number, nowMs: number, following: MappedFile | null = next): Promise<void> {
  const current = endOffset < FILE_BYTES ? file : next;
  warmUp.step(endOffset, nowMs, current, current === file ? following : null);
  await warmUp.settled();
}

function sum(): number {
  return populatedBytes.reduce((total, bytes) => total + bytes, 0);
}

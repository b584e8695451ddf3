import { expect, it } from "vitest";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { Progress } from "./progress.js";

const ERASE_LINE = "\r\u001b[K";

function readFor(isTTY: boolean, readCount: number, msPerRead: number): string[] {
  const storage = new FaultyStorage(heap);
  storage.open("/a\u001b[31m", "create").truncate(10_000);
  const written: string[] = [];
  let nowMs = 0;
  const progress = new Progress({ isTTY, write: (text) => written.push(text) }, () => nowMs);
  const file = progress.watch(storage).open("/a\u001b[31m", "read");
  for (let i = 0; i < readCount; i++) {
    nowMs += msPerRead;
    expect(file.read(new Uint8Array(1_024), 0, 1_024, i * 100)).toBe(1_024);
  }
  progress.end();
  return written;
}

it("says nothing of a short inspection", () => {
  expect(readFor(true, 19, 100)).toEqual([]);
  expect(readFor(false, 29, 1_000)).toEqual([]);
});

it("changes one line a second on a terminal, and takes it away at the end", () => {
  const written = readFor(true, 35, 100);
  expect(written).toHaveLength(3);
  expect(written[0]!.startsWith(`${ERASE_LINE}20.0 KiB`)).toBe(true);
  expect(written[1]!.startsWith(`${ERASE_LINE}30.0 KiB`)).toBe(true);
  for (const line of written.slice(0, 2)) expect(line.lastIndexOf("\u001b")).toBe(1); // the file's name moves no cursor
  expect(written[1]).toContain("read, now at byte 2900 of 10000 in /a");
  expect(written[2]).toBe(ERASE_LINE);
});

it("writes whole lines, and few, where nobody looks on", () => {
  const written = readFor(false, 65, 1_000);
  expect(written).toHaveLength(2);
  expect(written[0]).toMatch(/^30\.0 KiB .*read, now at byte 2900 of 10000 in .*\n$/);
  expect(written[1]).toMatch(/^60\.0 KiB .*read, now at byte 5900 of 10000 in .*\n$/);
  expect(written.join("")).not.toContain("\u001b");
});

it("does not end an inspection that nobody listens to", () => {
  const storage = new FaultyStorage(heap);
  storage.open("/a", "create").truncate(10_000);
  let nowMs = 0;
  let tries = 0;
  const write = () => {
    tries++;
    throw Object.assign(new Error("EAGAIN"), { code: "EAGAIN", syscall: "write" });
  };
  const progress = new Progress({ isTTY: true, write }, () => nowMs);
  const file = progress.watch(storage).open("/a", "read");
  nowMs = 5_000;
  expect(file.read(new Uint8Array(10), 0, 10, 0)).toBe(10);
  progress.end();
  expect(tries).toBe(2);
});

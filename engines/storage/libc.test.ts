import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { UnsupportedError } from "../errors.js";
import { heap } from "../heap.js";
import { adviseFile, baseAddressOf, syncMapping } from "./libc.js";

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-libc-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

it("finds the heap's base, the same each time and page-aligned", () => {
  const base = baseAddressOf(heap);
  expect(Number.isSafeInteger(base)).toBe(true);
  expect(base % 4_096).toBe(0);
  expect(baseAddressOf(heap)).toBe(base);
});

it("drops cached pages, or says that it cannot", () => {
  const file = path.join(directory, "f");
  fs.writeFileSync(file, Buffer.alloc(65_536, 1));
  const fd = fs.openSync(file, "r+");
  fs.fdatasyncSync(fd);
  if (process.platform === "linux") adviseFile(fd, "drop", 0, 65_536);
  else expect(() => adviseFile(fd, "drop", 0, 65_536)).toThrow(UnsupportedError);
  expect(fs.readFileSync(file)).toEqual(Buffer.alloc(65_536, 1));
  fs.closeSync(fd);
});

it("refuses to sync a range that is not mapped", async () => {
  await expect(syncMapping(65_536, 65_536)).rejects.toThrow(/msync/);
});

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UnsupportedError } from "../errors.js";
import { deviceReads, makeCold, residentBytes } from "./cold-reads.js";
import { DiskStorage } from "./disk-storage.js";
import { transferSource } from "./transfer.js";

const FILE_SIZE_BYTES = (8 << 20) + 123;
const TMPFS_MAGIC = 0x01021994;
const isLinux = process.platform === "linux";
const canBeCold = isLinux && fs.statfsSync(os.tmpdir()).type !== TMPFS_MAGIC;

let directory: string;
let file: string;
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-cold-"));
  file = path.join(directory, "f");
  fs.writeFileSync(file, Buffer.alloc(FILE_SIZE_BYTES, "cold"));
});
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

describe.runIf(canBeCold)("a file on a device", () => {
  it("is cold after it was made so, dirty as it was, and the next read comes from the device, the one after not", () => {
    expect(residentBytes(file)).toBeGreaterThanOrEqual(FILE_SIZE_BYTES);
    expect(makeCold(file, false)).toEqual({ by: "posix_fadvise", residentBytes: 0 });
    expect(residentBytes(file)).toBe(0);

    const before = deviceReads(file);
    expect(Buffer.compare(fs.readFileSync(file), Buffer.alloc(FILE_SIZE_BYTES, "cold"))).toBe(0);
    const cold = deviceReads(file);
    // Not all: on a busy machine the process's counter was once seen 70 pages short of the 2 049 that were read.
    expect(cold.processBytes - before.processBytes).toBeGreaterThan(0.9 * FILE_SIZE_BYTES);
    if (cold.deviceBytes !== null)
      expect(cold.deviceBytes - before.deviceBytes!).toBeGreaterThan(0.9 * FILE_SIZE_BYTES);
    expect(residentBytes(file)).toBeGreaterThanOrEqual(FILE_SIZE_BYTES);

    const beforeHot = deviceReads(file);
    fs.readFileSync(file);
    expect(deviceReads(file).processBytes - beforeHot.processBytes).toBeLessThan(FILE_SIZE_BYTES / 100);
  });

  it("is reported as not cold while somebody has its pages mapped", () => {
    const fd = fs.openSync(file, "r");
    const nowhere = fs.openSync(path.join(directory, "copy"), "w");
    const source = transferSource("mmap", fd);
    source.send(nowhere, 0, FILE_SIZE_BYTES); // faults the pages into the mapping
    expect(makeCold(file, false).residentBytes).toBeGreaterThan(0);
    source.close();
    expect(makeCold(file, false).residentBytes).toBe(0);
    fs.closeSync(nowhere);
    fs.closeSync(fd);
  });

  it("lets go of the clean part that its writer drops, and is read without reading ahead when told to be", () => {
    const dropped = path.join(directory, "dropped");
    fs.writeFileSync(dropped, Buffer.alloc(FILE_SIZE_BYTES, "drop"));
    const opened = new DiskStorage().open(dropped, "write");
    opened.syncNow();
    opened.advise("drop", 0, 4 << 20);
    expect(residentBytes(dropped)).toBeLessThan(FILE_SIZE_BYTES - (3 << 20));
    expect(residentBytes(dropped)).toBeGreaterThan(0);
    makeCold(dropped, false);
    opened.advise("random", 0, 0);
    opened.read(new Uint8Array(1), 0, 1, 1 << 20);
    expect(residentBytes(dropped)).toBeLessThanOrEqual(64 << 10);
    opened.close();
  });

  it("is cold when it is empty", () => {
    const empty = path.join(directory, "empty");
    fs.writeFileSync(empty, "");
    expect(makeCold(empty, false).residentBytes).toBe(0);
  });
});

it.skipIf(isLinux)("is refused where the system offers no way", () => {
  expect(() => makeCold(file, false)).toThrow(UnsupportedError);
});

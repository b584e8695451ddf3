import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { heap } from "../heap.js";
import { DiskStorage } from "./disk-storage.js";
import { noSystemCalls, type SystemCalls } from "./system-calls.js";

const MIB = 1 << 20;
const MODULE = new URL("./disk-storage.js", import.meta.url).href;
const HEAP_MODULE = new URL("../heap.js", import.meta.url).href;
/** What the kernel calls them; of a file, or of a range of addresses. */
const TRACED: Readonly<Record<string, readonly string[]>> = {
  write: ["pwrite64"],
  read: ["pread64"],
  fdatasync: ["fdatasync"],
  fsync: ["fsync"],
  msync: ["msync"],
  fallocate: ["fallocate"],
  ftruncate: ["ftruncate"],
  fadvise: ["fadvise64"],
  rename: ["rename", "renameat", "renameat2"],
  unlink: ["unlink", "unlinkat"],
};
/** Whether calls of a child can be traced here: containers may forbid it. */
const canTrace = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]).status === 0;

let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-calls-"));
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

/** Everything that a log does with its files, and how often each call was counted. */
const WORK = `
  const { DiskStorage } = await import(${JSON.stringify(MODULE)});
  const { heap } = await import(${JSON.stringify(HEAP_MODULE)});
  const directory = process.argv[1];
  const storage = new DiskStorage();
  const file = storage.open(directory + "/a", "create");
  file.allocate(1 << 20);
  const bytes = new Uint8Array(100);
  for (let i = 0; i < 7; i++) file.write(bytes, 0, 100, 100 * i);
  for (let i = 0; i < 5; i++) file.read(bytes, 0, 100, 100 * i);
  file.advise("random", 0, 0);
  await file.sync();
  file.syncNow();
  const region = file.map(heap.reserveWindow(1 << 20), 1 << 20, 0);
  for (let i = 0; i < 3; i++) await region.sync(0, 100);
  region.unmap();
  file.truncate(4096);
  file.close();
  storage.rename(directory + "/a", directory + "/b");
  storage.syncDirectory(directory);
  await storage.syncDirectoryAside(directory);
  storage.remove(directory + "/b");
  console.log(JSON.stringify(storage.systemCalls()));
`;

describe("the count of system calls", () => {
  it("has each call by its kind", async () => {
    const storage = new DiskStorage();
    const calls = (): SystemCalls => storage.systemCalls();
    expect(calls()).toEqual(noSystemCalls());
    const file = storage.open(path.join(directory, "a"), "create");
    file.truncate(MIB);
    file.write(new Uint8Array(10), 0, 10, 0);
    file.write(new Uint8Array(10), 0, 10, 10);
    await file.sync();
    expect(calls()).toEqual({ ...noSystemCalls(), open: 1, ftruncate: 1, write: 2, fdatasync: 1 });
    const region = file.map(heap.reserveWindow(MIB), MIB, 0);
    region.unmap();
    file.close();
    // A mapping asks for the file's size, has a descriptor of its own, and leaves fresh memory behind.
    expect(calls()).toMatchObject({ open: 2, stat: 1, mmap: 2, close: 2 });
  });

  it.skipIf(!canTrace)("is what the kernel is asked for", () => {
    const trace = path.join(directory, "trace");
    const work = path.join(directory, "work");
    fs.mkdirSync(work);
    const names = Object.values(TRACED).flat().join(",");
    const { stdout, stderr } = spawnSync(
      "strace",
      ["-f", "-qq", "-y", "-e", `trace=?${names.replaceAll(",", ",?")}`, "-o", trace, process.execPath].concat([
        "--input-type=module",
        "--eval",
        WORK,
        work,
      ]),
      { encoding: "utf8" },
    );
    expect(stderr).toBe("");
    const counted = JSON.parse(stdout) as SystemCalls;
    // Node's own calls are on other files; msync is on no file.
    const lines = fs.readFileSync(trace, "utf8").split("\n");
    const seen = Object.fromEntries(
      Object.entries(TRACED).map(([kind, kernelNames]) => [
        kind,
        lines.filter((line) => {
          const name = /^\d+ +(\w+)\(/.exec(line)?.[1];
          return name !== undefined && kernelNames.includes(name) && (name === "msync" || line.includes(work));
        }).length,
      ]),
    );
    expect(seen).toEqual(
      Object.fromEntries(Object.keys(TRACED).map((kind) => [kind, counted[kind as keyof SystemCalls]])),
    );
    expect(counted).toMatchObject({ write: 7, read: 5, fdatasync: 2, msync: 3, fsync: 2, rename: 1, unlink: 1 });
  });
});

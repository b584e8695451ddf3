import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDirectory } from "./make-directory.js";

describe("makeDirectory", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "logduel-make-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("makes a directory with the parents it lacks, and leaves one that is there", () => {
    const path = join(directory, "a", "b", "c");
    makeDirectory(path);
    writeFileSync(join(path, "file"), "");
    makeDirectory(path);
    expect(statSync(path).isDirectory()).toBe(true);
    expect(readdirSync(path)).toEqual(["file"]);
  });

  it("fails where a file is in the way", () => {
    const file = join(directory, "file");
    writeFileSync(file, "");
    expect(() => makeDirectory(file)).toThrow(/EEXIST/);
    expect(() => makeDirectory(join(file, "below", "deeper"))).toThrow(/ENOTDIR: .*, mkdir /);
  });

  it.skipIf(!existsSync("/proc"))("fails, and does not try for ever, where the kernel refuses to make any", () => {
    expect(() => makeDirectory("/proc/logduel/below")).toThrow(/ENOENT/);
  });
});

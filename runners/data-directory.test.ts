import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clearLeftovers, DataDirectory, otherDataDirectories, requireFitTarget, whyNoDisk } from "./data-directory.js";

let parent: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "logduel-test-"));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

describe("requireFitTarget", () => {
  it("refuses too little space, saying how much there is and what to do", async () => {
    await expect(requireFitTarget(parent, { freeBytes: 1e18, anyFilesystem: true })).rejects.toThrow(
      /has \d+\.\d GB free and the run needs 1000000000\.0 GB\. Free some, give another --dir, or choose a smaller --profile\.$/,
    );
    expect(readdirSync(parent)).toEqual([]);
  });

  it.runIf(existsSync("/dev/shm"))("refuses memory, unless told otherwise", async () => {
    await expect(requireFitTarget("/dev/shm", { freeBytes: 0, anyFilesystem: false })).rejects.toThrow(
      /^\/dev\/shm lies on tmpfs, which is memory and not a disk\. Give a directory on a real disk as --dir/,
    );
    expect((await requireFitTarget("/dev/shm", { freeBytes: 0, anyFilesystem: true })).type).toBe("tmpfs");
  });

  it.runIf(process.getuid?.() !== 0)("refuses what is not writable", async () => {
    await expect(requireFitTarget("/", { freeBytes: 0, anyFilesystem: true })).rejects.toThrow(/is not writable/);
  });

  it("knows disks from what is none", () => {
    const disks = ["ext4", "xfs", "btrfs", "zfs", "apfs", "f2fs", "ntfs3"];
    const others = ["tmpfs", "overlay", "nfs4", "nfs", "cifs", "9p", "virtiofs", "fuse.sshfs", "squashfs", "proc"];
    expect(disks.filter((type) => whyNoDisk(type) !== null)).toEqual([]);
    expect(others.filter((type) => whyNoDisk(type) === null)).toEqual([]);
  });
});

describe("DataDirectory", () => {
  it("removes what it made and nothing else, not even through links", () => {
    mkdirSync(join(parent, "precious"));
    writeFileSync(join(parent, "precious", "file"), "");
    const data = new DataDirectory(parent);
    const trial = data.makeTrialDirectory();
    writeFileSync(join(trial, "log"), "x");
    symlinkSync(join(parent, "precious"), join(trial, "link"));
    symlinkSync(join(parent, "precious"), join(data.path, "link"));
    data.remove();
    expect(readdirSync(parent)).toEqual(["precious"]);
    expect(readdirSync(join(parent, "precious"))).toEqual(["file"]);
  });

  it("leaves a directory alone that does not carry its marker", () => {
    const data = new DataDirectory(parent);
    rmSync(data.path, { recursive: true });
    mkdirSync(data.path);
    writeFileSync(join(data.path, "someone-elses"), "");
    expect(() => data.remove()).toThrow(/does not carry this run's marker/);
    expect(() => data.clear()).toThrow(/does not carry this run's marker/);
    expect(readdirSync(data.path)).toEqual(["someone-elses"]);
  });

  it("knows its directory again when an engine removed the marker, and makes a new one when it removed all", () => {
    const data = new DataDirectory(parent);
    writeFileSync(join(data.makeTrialDirectory(), "log"), "x");
    rmSync(join(data.path, ".made-by-logduel"));
    data.clear();
    expect(readdirSync(data.path)).toEqual([".made-by-logduel"]);
    rmSync(data.path, { recursive: true });
    data.clear();
    expect(existsSync(data.path)).toBe(false);
    expect(existsSync(data.makeTrialDirectory())).toBe(true);
    expect(otherDataDirectories(parent)).toEqual([data.path]);
    data.remove();
    expect(readdirSync(parent)).toEqual([]);
  });

  it("leaves alone what a link in its place leads to", () => {
    const data = new DataDirectory(parent);
    mkdirSync(join(parent, "precious"));
    writeFileSync(join(parent, "precious", "file"), "");
    rmSync(data.path, { recursive: true });
    symlinkSync(join(parent, "precious"), data.path);
    expect(() => data.remove()).toThrow(/marker/);
    expect(readdirSync(join(parent, "precious"))).toEqual(["file"]);
  });

  it("leaves another run's directory alone", () => {
    const [first, second] = [new DataDirectory(parent), new DataDirectory(parent)];
    expect(first.path).not.toBe(second.path);
    writeFileSync(join(first.path, ".made-by-logduel"), `${"0".repeat(16)}\n`);
    expect(() => first.remove()).toThrow(/marker/);
    second.remove();
    expect(otherDataDirectories(parent)).toEqual([first.path]);
  });

  it("removes what a killed command left, and names what may be another's", async () => {
    const module = new URL("./data-directory.js", import.meta.url).href;
    const script = `const { DataDirectory } = await import(${JSON.stringify(module)});
      new DataDirectory(${JSON.stringify(parent)}).makeTrialDirectory();
      console.log("made"); setInterval(() => {}, 1_000);`;
    const killed = spawn(process.execPath, ["--input-type=module", "--eval", script]);
    await once(killed.stdout, "data");
    const lines: string[] = [];
    const [left] = otherDataDirectories(parent);
    clearLeftovers(parent, (line) => lines.push(line));
    expect(lines).toEqual([`Another run's data lies in ${left}: remove it if no other run is under way.`]);
    killed.kill("SIGKILL");
    await once(killed, "exit");
    const mine = new DataDirectory(parent);
    // Of an older version, which locked nothing: nobody knows whether it is in use.
    mkdirSync(join(parent, "logduel-data-old"));
    writeFileSync(join(parent, "logduel-data-old", ".made-by-logduel"), "old\n");
    lines.length = 0;
    clearLeftovers(parent, (line) => lines.push(line));
    expect(lines.sort()).toEqual(
      [
        `Another run's data lies in ${mine.path}: remove it if no other run is under way.`,
        `Another run's data lies in ${join(parent, "logduel-data-old")}: remove it if no other run is under way.`,
        `Removed ${left}: the command that made it was killed.`,
      ].sort(),
    );
    expect(readdirSync(parent).sort()).toEqual([basename(mine.path), "logduel-data-old"].sort());
  });

  it("leaves alone what a killed command left and somebody put aside: renamed, copied, or behind a link", () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "logduel-test-"));
    try {
      const left = (name: string, owner = "0123456789abcdef") => {
        mkdirSync(name);
        writeFileSync(join(name, ".made-by-logduel"), `${owner}\nlocked while in use\n`);
        writeFileSync(join(name, "log"), "x");
      };
      left(join(parent, "logduel-data-kept"));
      left(join(elsewhere, "logduel-data-0123456789abcdef"));
      symlinkSync(join(elsewhere, "logduel-data-0123456789abcdef"), join(parent, "logduel-data-0123456789abcdef"));
      left(join(parent, "logduel-data-fedcba9876543210"), "fedcba9876543210");
      const lines: string[] = [];
      clearLeftovers(parent, (line) => lines.push(line));
      expect(lines.filter((line) => line.startsWith("Removed"))).toEqual([
        `Removed ${join(parent, "logduel-data-fedcba9876543210")}: the command that made it was killed.`,
      ]);
      expect(readdirSync(parent).sort()).toEqual(["logduel-data-0123456789abcdef", "logduel-data-kept"]);
      expect(existsSync(join(parent, "logduel-data-kept", "log"))).toBe(true);
      expect(existsSync(join(elsewhere, "logduel-data-0123456789abcdef", "log"))).toBe(true);
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });

  it("is still in use when an engine removed its marker, and it was marked again", () => {
    const data = new DataDirectory(parent);
    rmSync(join(data.path, ".made-by-logduel"));
    data.clear();
    clearLeftovers(parent, () => {});
    expect(existsSync(data.path)).toBe(true);
    data.remove();
  });

  it("can be removed twice", () => {
    const data = new DataDirectory(parent);
    data.remove();
    data.remove();
    expect(existsSync(data.path)).toBe(false);
  });
});

import { describe, expect, it } from "vitest";
import {
  openCounterFile,
  openSchedstat,
  parseBlockStat,
  parseCpuStat,
  parseMemory,
  parseResident,
  parseSchedstat,
} from "./kernel-counters.js";

describe("the kernel's counters", () => {
  it("reads dirty and writeback pages, in bytes", () => {
    const text =
      "MemTotal:       24684084 kB\nDirty:              1044 kB\nWriteback:             8 kB\nWritebackTmp:         99 kB\n";
    expect(parseMemory(text)).toEqual({ dirtyBytes: 1044 * 1024, writebackBytes: 8 * 1024 });
  });

  it("reads processor time, guest time counted once, idleness and steal", () => {
    const text = "cpu  100 5 50 1000 20 1 2 30 7 3\ncpu0 50 0 0 0 0 0 0 0 0 0\n";
    expect(parseCpuStat(text)).toMatchObject({ totalTicks: 1208, idleTicks: 1020, stealTicks: 30 });
  });

  it("reads a device's written bytes and busy time", () => {
    const text = "   76444    31701  5381490    28833    10297    28897  3003536    10925        0    14316    40259\n";
    expect(parseBlockStat(text)).toEqual({ writtenBytes: 3_003_536 * 512, busyMs: 14_316 });
  });

  it("reads how long a thread ran and how long it waited for a processor", () => {
    const parsed = (text: string) => {
      const into = { ranNs: -1, waitedNs: -1 };
      parseSchedstat(Buffer.from(`${text}999`), text.length, into);
      return into;
    };
    expect(parsed("78661930 5788024 34\n")).toEqual({ ranNs: 78_661_930, waitedNs: 5_788_024 });
    expect(parsed("0 0 0\n")).toEqual({ ranNs: 0, waitedNs: 0 });
    expect(parsed("")).toEqual({ ranNs: 0, waitedNs: 0 });
  });

  it("reads memory in RAM, and the part of it that belongs to no file", () => {
    const text = "Name:\tnode\nVmRSS:\t   51200 kB\nRssAnon:\t   20480 kB\nRssFile:\t   30720 kB\n";
    expect(parseResident(text)).toEqual({ residentBytes: 51_200 * 1024, anonymousBytes: 20_480 * 1024 });
  });

  it("is null where there is no such file", () => {
    expect(openCounterFile("/nowhere/at/all")).toBe(null);
    expect(openSchedstat("/nowhere/at/all")).toBe(null);
  });

  it.runIf(process.platform === "linux")("reads a file afresh at every call", () => {
    const read = openCounterFile("/proc/self/stat")!;
    expect(read()).toMatch(/^\d+ \(/);
    expect(read()).toMatch(/^\d+ \(/);
  });
});

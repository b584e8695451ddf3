import { describe, expect, it } from "vitest";
import { diagnose, type Finding, type Observation, overall } from "./diagnose.js";

const SOUND: Observation = {
  directory: "/data",
  environment: {
    fingerprint: "0",
    platform: "linux x64",
    kernel: "6.8",
    distribution: "Debian",
    cpu: { model: "CPU", logicalCores: 4, governor: "performance", turbo: null, siblings: null, quota: null },
    memoryBytes: 32e9,
    memoryLimitBytes: null,
    node: { version: "20", v8: "11", uv: "1", threadPoolSize: 16, flags: [] },
    device: {
      name: "nvme0n1",
      model: "Drive",
      rotational: false,
      scheduler: "none",
      writeCache: "write through",
      fua: true,
      queueDepth: 1023,
    },
    filesystem: { type: "ext4", mountPoint: "/data", mountOptions: "rw,relatime", sizeBytes: 1e12, freeBytes: 5e11 },
    dirtySettings: { dirty_ratio: 20, dirty_background_ratio: 10 },
    loadAverage: [0, 0, 0],
    checksumProviders: {},
    notPossible: [],
    notes: [],
  },
  processorQuota: null,
  pinning: { processors: "1-3", reason: "" },
  hasTurbo: false,
  hasSiblings: false,
  clockSource: "tsc",
  availableMemoryBytes: 30e9,
  usedSwapBytes: 0,
  dirtyBytes: 0,
  openFileLimit: 1_048_576,
  mappingLimit: 65_530,
  isRoot: false,
  neighbours: { busyFraction: 0.01, stealFraction: 0, writtenBytesPerSecond: 0, busiest: [] },
  leftovers: [],
  missingTools: [],
};

type Environment = Observation["environment"];

function withEnvironment(change: { [Part in keyof Environment]?: Partial<Environment[Part]> }): Observation {
  const environment = Object.fromEntries(
    Object.entries(SOUND.environment).map(([name, value]) => {
      const changed = change[name as keyof Environment];
      return [
        name,
        typeof value === "object" && value !== null ? { ...value, ...(changed as object) } : (changed ?? value),
      ];
    }),
  ) as Environment;
  return { ...SOUND, environment };
}

function findingOf(observation: Observation, subject: string): Finding {
  return diagnose(observation).find((finding) => finding.subject === subject)!;
}

describe("the doctor", () => {
  it("finds nothing to change on a sound machine", () => {
    const findings = diagnose(SOUND);
    expect(findings.filter(({ grade }) => grade !== "good")).toEqual([]);
    expect(overall(findings)).toBe("good");
  });

  it("grades a machine by its worst finding", () => {
    const busy = { ...SOUND, neighbours: { ...SOUND.neighbours!, busyFraction: 0.3 } };
    expect(overall(diagnose(busy))).toBe("doubtful");
    const both = {
      ...busy,
      environment: { ...busy.environment, filesystem: { ...busy.environment.filesystem, type: "tmpfs" } },
    };
    expect(overall(diagnose(both))).toBe("unfit");
  });

  it.each<[string, Observation, string, Finding["grade"], string | null]>([
    ["memory for a disk", withEnvironment({ filesystem: { type: "tmpfs" } }), "filesystem", "unfit", "--dir"],
    ["no room for the quick profile", withEnvironment({ filesystem: { freeBytes: 1e9 } }), "space", "unfit", "--dir"],
    ["a nearly full filesystem", withEnvironment({ filesystem: { freeBytes: 1e11 } }), "space", "doubtful", "--dir"],
    [
      "a filesystem without barriers",
      withEnvironment({ filesystem: { mountOptions: "rw,nobarrier" } }),
      "mount options",
      "unfit",
      "remount,barrier=1 /data",
    ],
    [
      "a filesystem that syncs every write",
      withEnvironment({ filesystem: { mountOptions: "rw,sync" } }),
      "mount options",
      "unfit",
      "remount,async",
    ],
    [
      "data in the journal",
      withEnvironment({ filesystem: { mountOptions: "rw,data=journal" } }),
      "mount options",
      "doubtful",
      null,
    ],
    ["an unknown device", withEnvironment({ device: { name: null } }), "device", "doubtful", null],
    [
      "a fair scheduler on a fast device",
      withEnvironment({ device: { scheduler: "bfq" } }),
      "I/O scheduler",
      "doubtful",
      "/sys/block/nvme0n1/queue/scheduler",
    ],
    [
      "a busy machine",
      { ...SOUND, neighbours: { ...SOUND.neighbours!, busyFraction: 0.8 } },
      "processors now",
      "unfit",
      "top",
    ],
    ["stolen time", { ...SOUND, neighbours: { ...SOUND.neighbours!, stealFraction: 0.05 } }, "steal", "doubtful", null],
    [
      "another writer",
      { ...SOUND, neighbours: { ...SOUND.neighbours!, writtenBytesPerSecond: 9e7 } },
      "device now",
      "unfit",
      "iotop",
    ],
    [
      "pinning refused",
      { ...SOUND, pinning: { processors: null, reason: "the system refuses it" } },
      "pinning",
      "doubtful",
      null,
    ],
    ["a quota of processors", { ...SOUND, processorQuota: 2 }, "processors", "doubtful", null],
    ["a single processor", withEnvironment({ cpu: { logicalCores: 1 } }), "processors", "doubtful", null],
    [
      "a clock rate that varies",
      withEnvironment({ cpu: { governor: "powersave" } }),
      "governor",
      "doubtful",
      "cpupower",
    ],
    ["turbo", { ...SOUND, hasTurbo: true }, "turbo", "doubtful", "no_turbo"],
    ["a slow clock", { ...SOUND, clockSource: "hpet" }, "clock", "doubtful", "clocksource"],
    ["little memory", { ...SOUND, availableMemoryBytes: 2e9 }, "memory", "doubtful", null],
    ["a tight memory limit", withEnvironment({ memoryLimitBytes: 2e9 as never }), "memory", "doubtful", null],
    ["swap in use", { ...SOUND, usedSwapBytes: 1e9 }, "swap", "doubtful", "swapoff"],
    ["dirty pages of others", { ...SOUND, dirtyBytes: 1e9 }, "dirty pages", "doubtful", "sync"],
    [
      "other dirty limits",
      withEnvironment({ dirtySettings: { dirty_ratio: 40 } }),
      "dirty limits",
      "doubtful",
      "vm.dirty_ratio=20",
    ],
    ["few open files", { ...SOUND, openFileLimit: 1_024 }, "open files", "doubtful", "ulimit -n"],
    ["few mappings", { ...SOUND, mappingLimit: 1_000 }, "mappings", "doubtful", "max_map_count"],
    ["no kernel counters", withEnvironment({ platform: "darwin arm64" as never }), "kernel counters", "doubtful", null],
  ])("sees %s, says why it matters and what to type", (_, observation, subject, grade, command) => {
    const finding = findingOf(observation, subject);
    expect(finding.grade).toBe(grade);
    expect(finding.reason).toMatch(/^[A-Z/].*\.$/);
    if (command === null) expect(finding.command).toBeUndefined();
    else expect(finding.command).toContain(command);
    expect(diagnose(observation).filter((other) => other.grade !== "good")).toHaveLength(1);
  });

  it("quotes the names of leftovers for the shell", () => {
    const finding = findingOf({ ...SOUND, leftovers: ["/data/a; reboot/logduel-data-1"] }, "other runs");
    expect(finding.grade).toBe("doubtful");
    expect(finding.command).toContain("$'/data/a; reboot/logduel-data-1'");
  });

  it("goes without what the platform does not tell", () => {
    const silent: Observation = {
      ...SOUND,
      hasTurbo: null,
      hasSiblings: null,
      clockSource: null,
      availableMemoryBytes: null,
      usedSwapBytes: null,
      dirtyBytes: null,
      openFileLimit: null,
      mappingLimit: null,
      neighbours: null,
    };
    expect(overall(diagnose(silent))).toBe("good");
  });
});

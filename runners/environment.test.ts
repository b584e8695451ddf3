import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { environmentSchema } from "../results/schema.js";
import { describeEnvironment, fingerprintOf, installedPackages } from "./environment.js";
import { findMount } from "./mount.js";

describe("describeEnvironment", () => {
  it("fills the schema on this machine", async () => {
    const environment = await describeEnvironment(await findMount(tmpdir()), 1);
    expect(() => environmentSchema.parse(environment)).not.toThrow();
    expect(environment.cpu.model).not.toBe("unknown");
    expect(environment.notes.join()).toContain("less than twice the memory");
    // What the harness does not do is told with every run.
    for (const omitted of ["preconditioned", "Caches are not dropped", "dirty page settings", "retention"]) {
      expect(environment.notes.filter((note) => note.includes(omitted))).toHaveLength(1);
    }
    const isTurboTold = environment.cpu.turbo !== null;
    expect(environment.notPossible.some((rule) => rule.includes("nominal rate"))).toBe(!isTurboTold);
  });

  it("keeps its fingerprint over what varies from boot to boot, and changes it with the machine", async () => {
    const environment = await describeEnvironment(await findMount(tmpdir()), 1);
    const { fingerprint, ...rest } = environment;
    const { memoryBytes, filesystem, node } = rest;
    expect(fingerprint).toBe(fingerprintOf(rest));
    for (const same of [
      { loadAverage: [9, 9, 9] },
      { memoryBytes: memoryBytes - 4096 },
      { filesystem: { ...filesystem, freeBytes: 1 } },
      { notes: [] },
    ]) {
      expect(fingerprintOf({ ...rest, ...same })).toBe(fingerprint);
    }
    for (const other of [
      { kernel: "9.9.9" },
      { memoryBytes: memoryBytes * 2 },
      { filesystem: { ...filesystem, type: "xfs" } },
      { node: { ...node, version: "99.0.0" } },
      { device: { ...rest.device, model: "another" } },
      { dirtySettings: { ...rest.dirtySettings, dirty_ratio: 1 } },
    ]) {
      expect(fingerprintOf({ ...rest, ...other })).not.toBe(fingerprint);
    }
  });
});

describe("installedPackages", () => {
  it("names what measures", () => {
    expect(Object.keys(installedPackages())).toEqual(expect.arrayContaining(["hdr-histogram-js", "koffi", "zod"]));
  });
});

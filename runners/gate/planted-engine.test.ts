import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DataDirectory } from "../data-directory.js";
import { SAME_BUILD } from "./builds.js";
import { type GateFindings, type GateSetup, runGate } from "./gate.js";
import { REAL_INSTRUMENTS } from "./measure.js";
import type { Workload } from "./workloads.js";

/** Real engines in real processes on the disk: small, so that only what is exact or gross can be asked of them. */
const MODULE = join(SAME_BUILD.candidate, "dist/runners/gate/planted-engine.js");
const MINUTE_MS = 60_000;

const buffered = { settings: { flush: "async", segmentSizeBytes: 4 * 1024 * 1024 }, inFlight: 256 };
const appending: Workload = {
  id: "appending",
  kind: "counted",
  ...buffered,
  warmupMessages: 500,
  measuredMessages: 6_000,
};
const syncing: Workload = {
  id: "syncing",
  kind: "counted",
  settings: { ...buffered.settings, flush: "sync" },
  inFlight: 1,
  warmupMessages: 5,
  measuredMessages: 40,
};
const closed: Workload = {
  id: "closed",
  kind: "closed",
  ...buffered,
  warmupMessages: 10_000,
  measuredMessages: 30_000,
};
const recovery: Workload = {
  id: "recovery",
  kind: "recovery",
  ...buffered,
  warmupMessages: 0,
  measuredMessages: 10_000,
};

let parent: string;
let dataDirectory: DataDirectory;

beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), "logduel-gate-test-"));
  dataDirectory = new DataDirectory(parent);
});
afterAll(() => {
  dataDirectory.remove();
  rmSync(parent, { recursive: true });
});

function gate(engine: string, plant: Record<string, unknown>, workloads: Workload[]): Promise<GateFindings> {
  const settings = { reference: { engine }, guard: { engine }, candidate: { engine, plant } };
  const setup: GateSetup = {
    bench: {
      builds: SAME_BUILD,
      settings,
      dataDirectory,
      scratchDirectory: parent,
      signal: new AbortController().signal,
    },
    subjects: [{ name: engine, sources: { reference: MODULE, guard: MODULE, candidate: MODULE } }],
    workloads,
    seed: 1,
    deadlineMs: Date.now() + 3 * MINUTE_MS,
    deviceStatPath: null,
    missing: [],
    tell: () => {},
    // What else this machine does is not what is tested.
    instruments: { ...REAL_INSTRUMENTS, listen: async () => null },
  };
  return runGate(setup);
}

function risen({ counters }: GateFindings): string[] {
  return counters.filter(({ verdict }) => verdict === "regression").map(({ id }) => id.split("/").slice(1).join("/"));
}

describe("planted in a real engine", () => {
  for (const engine of ["partitioned-log", "commitlog"]) {
    it(
      `${engine}: nothing changed, so no counter rises`,
      async () => {
        const findings = await gate(engine, {}, [appending, syncing]);
        expect(findings).toMatchObject({ outcome: "passed", exitCode: 0 });
        expect(findings.counters.filter(({ verdict }) => verdict === "equal").length).toBeGreaterThanOrEqual(24);
      },
      2 * MINUTE_MS,
    );

    it(
      `${engine}: an extra copy and an extra sync per message are found by counting`,
      async () => {
        const findings = await gate(engine, { copies: true, syncEvery: 1 }, [syncing]);
        expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
        expect(risen(findings)).toEqual(expect.arrayContaining(["syncing/syncCalls", "syncing/copyCalls"]));
        const syncs = findings.counters.find(({ id }) => id.endsWith("syncing/syncCalls"))!;
        expect(syncs.candidate[0]! - syncs.reference[0]!).toBe(45);
      },
      2 * MINUTE_MS,
    );
  }

  it(
    "an extra write per batch is found by counting",
    async () => {
      const findings = await gate("partitioned-log", { writes: true }, [appending]);
      expect(risen(findings)).toEqual(expect.arrayContaining(["appending/writeCalls", "appending/writtenBytes"]));
    },
    2 * MINUTE_MS,
  );

  it(
    "a dropped batch is a failure and no figure",
    async () => {
      const findings = await gate("partitioned-log", { dropWrite: 40 }, [closed]);
      expect(findings).toMatchObject({ outcome: "failed", exitCode: 4, figures: [] });
      expect(findings.failures[0]).toMatch(/^partitioned-log\/closed, candidate: /);
    },
    2 * MINUTE_MS,
  );

  it(
    "a slower checksum is found by its CPU time, and confirmed",
    async () => {
      const { figures, outcome } = await gate("partitioned-log", { checksums: 12 }, [closed]);
      const cpu = figures.find(({ id }) => id.endsWith("cpuPerMessage"))!;
      expect(cpu.ratio.point).toBeGreaterThan(1.5);
      expect(cpu.verdict).toBe("regression");
      expect(outcome).toBe("regression");
    },
    4 * MINUTE_MS,
  );

  it(
    "recovery is timed, and recovers all that was acknowledged",
    async () => {
      const { figures, failures } = await gate("commitlog", {}, [recovery]);
      expect(failures).toEqual([]);
      expect(figures.map(({ id }) => id)).toEqual(["commitlog/recovery/recoveryTime"]);
      expect(figures[0]!.reference).toBeGreaterThan(1e5);
    },
    4 * MINUTE_MS,
  );
});

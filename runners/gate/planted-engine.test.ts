import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Message } from "../../engines/engine.js";
import { DiskStorage, heap } from "../../engines/registry.js";
import { DataDirectory } from "../data-directory.js";
import { SAME_BUILD } from "./builds.js";
import { fewestBlocks } from "./decide.js";
import type { Reading } from "./figures.js";
import { type GateFindings, runGate } from "./gate.js";
import { type Bench, measure, REAL_INSTRUMENTS, type Subject } from "./measure.js";
import plantedEngine from "./planted-engine.js";
import { type DuetProcessors, findDuetProcessors } from "./processors.js";
import type { TimedWorkload, Workload } from "./workloads.js";

/** Real engines in real processes on the disk: small, so that only what is exact or gross can be asked of them. */
const MODULE = join(SAME_BUILD.candidate, "dist/runners/gate/planted-engine.js");
const MINUTE_MS = 60_000;

const buffered = { settings: { flush: "async", segmentSizeBytes: 4 * 1024 * 1024 }, inFlight: 256 };
const synced = { settings: { ...buffered.settings, flush: "sync" }, inFlight: 1 };
const appending: Workload = {
  id: "appending",
  kind: "counted",
  ...buffered,
  warmupMessages: 500,
  measuredMessages: 6_000,
};
const syncing: Workload = { id: "syncing", kind: "counted", ...synced, warmupMessages: 5, measuredMessages: 40 };
const closed: Workload = {
  id: "closed",
  kind: "closed",
  ...buffered,
  warmupMessages: 10_000,
  measuredMessages: 30_000,
};
const duet: Workload = { ...closed, id: "cpu", kind: "duet" };
const recovery: TimedWorkload = {
  id: "recovery",
  kind: "recovery",
  ...buffered,
  warmupMessages: 0,
  measuredMessages: 10_000,
};

let readings = 0;
let parent: string;
let dataDirectory: DataDirectory;
let duetProcessors: DuetProcessors | null;

beforeAll(async () => {
  duetProcessors = await findDuetProcessors();
  parent = mkdtempSync(join(tmpdir(), "logduel-gate-test-"));
  dataDirectory = new DataDirectory(parent);
});
afterAll(() => {
  dataDirectory.remove();
  rmSync(parent, { recursive: true });
});

function benchFor(engine: string, plant: Record<string, unknown>): Bench {
  return {
    builds: SAME_BUILD,
    settings: { reference: { engine }, guard: { engine }, candidate: { engine, plant } },
    dataDirectory,
    duetProcessors,
    scratchDirectory: parent,
    signal: new AbortController().signal,
  };
}

function subjectOf(engine: string): Subject {
  return { name: engine, sources: { reference: MODULE, guard: MODULE, candidate: MODULE } };
}

function gate(engine: string, plant: Record<string, unknown>, workloads: Workload[]): Promise<GateFindings> {
  return runGate({
    bench: benchFor(engine, plant),
    subjects: [subjectOf(engine)],
    workloads,
    seed: 1,
    deadlineMs: Number.MAX_SAFE_INTEGER,
    mostBlocks: fewestBlocks(2),
    deviceStatPath: null,
    missing: [],
    tell: () => {},
    // What else this machine does, and how long that makes the gate take, is not what is tested.
    instruments: { ...REAL_INSTRUMENTS, nowMs: () => ++readings, listen: async () => null },
  });
}

async function measureRecovery(engine: string, plant: Record<string, unknown>): Promise<Record<string, Reading>> {
  const trial = { subject: subjectOf(engine), arm: "candidate", seed: 1 } as const;
  const [figures] = await measure(benchFor(engine, plant), recovery, [trial], 0);
  return figures!;
}

describe("planted in a real engine", () => {
  it.each(["partitioned-log", "commitlog"])(
    "%s: a slower sync holds back the acknowledgement that waits for it",
    async (engine) => {
      const delayMs = 12_345;
      const later = setTimeout;
      const held: (() => void)[] = [];
      let isHolding = false;
      vi.stubGlobal("setTimeout", (run: () => void, ms: number) => {
        if (ms !== delayMs) return later(run, ms);
        return isHolding ? held.push(run) : setImmediate(run);
      });
      try {
        let acknowledgedCount = 0;
        const opened = await plantedEngine.open({
          directory: mkdtempSync(join(parent, "sync-")),
          storage: new DiskStorage(),
          heap,
          settings: { engine, flush: "sync", plant: { syncDelayMs: delayMs } },
          listener: {
            acknowledged: (_partition, _baseOffset, messageCount) => {
              acknowledgedCount += messageCount;
            },
            failed: () => {},
          },
        });
        const [partition] = await opened.createTopic("t", 1);
        const message = new Message(heap, heap.place(new Uint8Array(100)));
        const until = async (isReached: () => boolean) => {
          while (!isReached()) {
            opened.poll();
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        // The first also syncs what has to be there before it.
        opened.append(partition!, message, 1);
        await until(() => acknowledgedCount === 1);
        isHolding = true;
        opened.append(partition!, message, 2);
        await until(() => held.length > 0);
        expect(acknowledgedCount).toBe(1);
        isHolding = false;
        for (const run of held) run();
        await until(() => acknowledgedCount === 2);
        await opened.close();
      } finally {
        vi.unstubAllGlobals();
      }
    },
  );

  for (const engine of ["partitioned-log", "commitlog"]) {
    it(
      `${engine}: nothing changed, so no counter rises`,
      async () => {
        const findings = await gate(engine, {}, [appending, syncing]);
        expect(findings.reasons).toEqual(["No counter rose, and nothing was timed."]);
        expect(findings.exitCode).toBe(0);
        expect(findings.counters.filter(({ verdict }) => verdict === "equal").length).toBeGreaterThanOrEqual(24);
      },
      4 * MINUTE_MS,
    );

    it(
      `${engine}: an extra copy, write and sync per message are found by counting`,
      async () => {
        const findings = await gate(engine, { copies: true, writes: true, syncEvery: 1 }, [syncing]);
        expect(findings.failures).toEqual([]);
        expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
        const found = findings.counters.filter(({ verdict }) => verdict === "regression").map(({ id }) => id);
        const planted = ["copyCalls", "copiedBytes", "syncCalls", "writeCalls"];
        expect(found).toEqual(expect.arrayContaining(planted.map((name) => `${engine}/syncing/${name}`)));
        const syncs = findings.counters.find(({ id }) => id.endsWith("syncing/syncCalls"))!;
        expect(syncs.candidate[0]! - syncs.reference[0]!).toBe(45);
      },
      4 * MINUTE_MS,
    );
  }

  it(
    "a dropped batch is a failure and no figure",
    async () => {
      const findings = await gate("partitioned-log", { dropWrite: 40 }, [closed]);
      expect(findings).toMatchObject({ outcome: "failed", exitCode: 4, figures: [] });
      expect(findings.failures[0]).toMatch(/^partitioned-log\/closed, candidate: /);
    },
    4 * MINUTE_MS,
  );

  // A/A may alarm in one gate of twenty, which is then inconclusive: that is its right, and no fault of this test.
  it("a slower checksum is found by its CPU time, and confirmed", { timeout: 6 * MINUTE_MS, retry: 2 }, async () => {
    const { figures, outcome } = await gate("partitioned-log", { checksums: 12 }, [duet]);
    const cpu = figures.find(({ id }) => id.endsWith("cpuPerMessage"))!;
    expect(cpu.ratio.point).toBeGreaterThan(1.5);
    expect(cpu.verdict).toBe("regression");
    expect(outcome).toBe("regression");
  });

  it(
    "recovery is timed, and has to give back all that was acknowledged",
    async () => {
      for (const engine of ["partitioned-log", "commitlog"]) {
        expect((await measureRecovery(engine, {})).recoveryTime).toBeGreaterThan(1e5);
      }
      await expect(measureRecovery("partitioned-log", { dropWrite: 20 })).rejects.toThrow(
        /10000 messages were acknowledged, \d+ were there after recovery/,
      );
    },
    2 * MINUTE_MS,
  );
});

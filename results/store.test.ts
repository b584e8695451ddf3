import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FORMAT_VERSION, messagesSchema, type Run, type Trial } from "./schema.js";
import { loadRun, RunStore, UnreadableRunError } from "./store.js";

const begun: Omit<Run, "status" | "finishedAt" | "trials" | "searches"> = {
  formatVersion: FORMAT_VERSION,
  runId: "test",
  startedAt: "2025-01-01T00:00:00Z",
  command: ["--profile", "smoke"],
  profile: "smoke",
  seed: 1,
  code: { version: "0", commit: null, dirty: null, hash: null },
  packages: {},
  environment: {
    fingerprint: "f",
    platform: "linux x64",
    kernel: "6",
    distribution: "d",
    cpu: { model: "m", logicalCores: 1, governor: null, turbo: null, siblings: null, quota: null },
    memoryBytes: 1,
    memoryLimitBytes: null,
    node: { version: "20", v8: "11", uv: "1", threadPoolSize: 16, flags: [] },
    device: {
      name: null,
      model: null,
      rotational: null,
      scheduler: null,
      writeCache: null,
      fua: null,
      queueDepth: null,
    },
    filesystem: { type: "ext4", mountPoint: "/", mountOptions: "rw", sizeBytes: 1, freeBytes: 1 },
    dirtySettings: {},
    loadAverage: [0, 0, 0],
    checksumProviders: {},
    notPossible: [],
    notes: [],
  },
  probe: [],
  probeAfter: [],
  loadAverageAfter: [],
  agreement: null,
  budgetMs: null,
  allowsNeighbours: false,
  unresolved: [],
  scenarios: [],
  plannedTrialCount: 2,
};
const trial = (order: number): Trial => ({
  trialId: `t${order}`,
  scenarioId: "s",
  engine: "raw",
  point: { "settings.flush": "sync" },
  repetition: 0,
  phase: "trials",
  limits: null,
  order,
  seed: 1,
  configuration: {
    topology: { topicCount: 1, partitionsPerTopic: 1 },
    messages: messagesSchema.parse({ sizeBytes: 1, compressibleFraction: 0 }),
    load: { model: "closed", inFlight: 1, producers: 1 },
    settings: {},
  },
  startedAt: "2025-01-01T00:00:01Z",
  durationNs: 1,
  disturbedAttempts: [],
  identity: null,
  status: "failed",
  failureKind: "engine",
  failures: ["It broke."],
  warnings: [],
  verification: null,
  measured: null,
});

let parent: string;
let directory: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "logduel-test-"));
  directory = join(parent, "run");
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

describe("RunStore", () => {
  it("has every finished trial on disk at once, before the run ends", () => {
    const store = new RunStore(directory, begun);
    expect(loadRun(directory)).toMatchObject({ status: "partial", finishedAt: null, trials: [] });
    store.appendTrial(trial(0));
    expect(loadRun(directory).trials).toEqual([trial(0)]);
    store.setProbe([], ["A note."]);
    store.appendTrial(trial(1));
    expect(loadRun(directory).trials).toEqual([trial(0), trial(1)]);
    expect(loadRun(directory).environment.notes).toEqual(["A note."]);
  });

  it("goes on with what was killed in the middle of a line, and with what was ended early", () => {
    const killed = new RunStore(directory, begun);
    killed.appendTrial(trial(0));
    appendFileSync(join(directory, "trials.jsonl"), '{"trialId": "t1", "scen');
    const resumed = RunStore.resume(directory);
    resumed.appendTrial(trial(1));
    expect(loadRun(directory).trials).toEqual([trial(0), trial(1)]);
    expect(resumed.finish({ interrupted: true })).toMatchObject({ status: "partial", trials: [trial(0), trial(1)] });
    const again = RunStore.resume(directory);
    expect(loadRun(directory)).toMatchObject({ status: "partial", finishedAt: null, trials: [trial(0), trial(1)] });
    expect(again.finish({ interrupted: false })).toMatchObject({ status: "complete", trials: [trial(0), trial(1)] });
    expect(readdirSync(directory)).toEqual(["run.json"]);
  });

  it("loses nothing when it is killed between the files that resuming writes", () => {
    const store = new RunStore(directory, begun);
    store.appendTrial(trial(0));
    store.finish({ interrupted: true });
    // The first of them is there, the second is not.
    writeFileSync(join(directory, "trials.jsonl"), `${JSON.stringify(trial(0))}\n`);
    expect(loadRun(directory).trials).toEqual([trial(0)]);
    expect(RunStore.resume(directory).run.trials).toEqual([trial(0)]);
  });

  it("reads a run that was killed in the middle of a line", () => {
    const store = new RunStore(directory, begun);
    store.appendTrial(trial(0));
    appendFileSync(join(directory, "trials.jsonl"), JSON.stringify(trial(1)).slice(0, 100));
    expect(loadRun(directory).trials).toEqual([trial(0)]);
  });

  it("begins its files anew, with all trials, when somebody removed the directory", () => {
    const store = new RunStore(directory, begun);
    store.appendTrial(trial(0));
    rmSync(directory, { recursive: true });
    store.appendTrial(trial(1));
    expect(loadRun(directory)).toMatchObject({ status: "partial", trials: [trial(0), trial(1)] });
    rmSync(directory, { recursive: true });
    expect(store.finish({ interrupted: false })).toEqual(loadRun(directory));
    expect(readdirSync(directory)).toEqual(["run.json"]);
  });

  it.runIf(existsSync("/dev/full"))(
    "keeps what is stored when the disk is full, and takes up where there is space again",
    () => {
      const store = new RunStore(directory, begun);
      store.appendTrial(trial(0));
      const full = (name: string) => symlinkSync("/dev/full", join(directory, name));
      renameSync(join(directory, "trials.jsonl"), join(parent, "aside"));
      full("trials.jsonl");
      expect(() => store.appendTrial(trial(1))).toThrow("ENOSPC");
      rmSync(join(directory, "trials.jsonl"));
      renameSync(join(parent, "aside"), join(directory, "trials.jsonl"));
      full("run.json.tmp");
      expect(() => store.finish({ interrupted: true })).toThrow("ENOSPC");
      expect(readdirSync(directory).sort()).toEqual(["run.json", "trials.jsonl"]);
      expect(loadRun(directory)).toMatchObject({ status: "partial", finishedAt: null, trials: [trial(0)] });
      RunStore.resume(directory).appendTrial(trial(1));
      expect(loadRun(directory).trials).toEqual([trial(0), trial(1)]);
    },
  );

  it("is complete only with all planned trials and without an interruption", () => {
    const finish = (count: number, interrupted: boolean) => {
      const store = new RunStore(join(parent, `${count}${interrupted}`), begun);
      for (let order = 0; order < count; order++) store.appendTrial(trial(order));
      return store.finish({ interrupted }).status;
    };
    expect([finish(2, false), finish(1, false), finish(2, true)]).toEqual(["complete", "partial", "partial"]);
  });

  it("is complete with as many trials as were planned last, and keeps what stayed open", () => {
    const store = new RunStore(directory, begun);
    store.appendTrial(trial(0));
    store.plan(1);
    store.setUnresolved(["It lies between 0.9 and 1.2."]);
    expect(store.finish({ interrupted: false })).toMatchObject({
      status: "complete",
      plannedTrialCount: 1,
      unresolved: ["It lies between 0.9 and 1.2."],
    });
  });

  it("ends as one file that loads from its path too", () => {
    const store = new RunStore(directory, begun);
    store.appendTrial(trial(0));
    const finished = store.finish({ interrupted: false });
    expect(existsSync(join(directory, "trials.jsonl"))).toBe(false);
    expect(loadRun(directory)).toEqual(finished);
    expect(loadRun(join(directory, "run.json"))).toEqual(finished);
  });

  it("never mixes with a run that is there", () => {
    new RunStore(directory, begun);
    expect(() => new RunStore(directory, begun)).toThrow(/EEXIST/);
  });

  it("refuses to write what the schema forbids", () => {
    const store = new RunStore(directory, begun);
    expect(() => store.appendTrial({ ...trial(0), surprise: 1 } as Trial)).toThrow(/surprise/);
    expect(() => store.appendTrial({ ...trial(0), status: "ok" })).toThrow(/figures/);
    expect(loadRun(directory).trials).toEqual([]);
  });
});

describe("loadRun", () => {
  it.each([
    ["an unknown key", (run: Run) => ({ ...run, surprise: 1 }), /surprise/],
    ["another version", (run: Run) => ({ ...run, formatVersion: 99 }), /formatVersion/],
    ["a missing part", ({ environment: _, ...run }: Run) => run, /environment/],
  ])("refuses %s, naming file and place", (_, change, place) => {
    new RunStore(directory, begun).finish({ interrupted: true });
    const path = join(directory, "run.json");
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, "utf8")))));
    expect(() => loadRun(directory)).toThrow(UnreadableRunError);
    expect(() => loadRun(directory)).toThrow(place);
    expect(() => loadRun(directory)).toThrow(path);
  });

  it("refuses what is not there, and what is no JSON", () => {
    expect(() => loadRun(join(parent, "nothing"))).toThrow(/There is no run at .*nothing/);
    writeFileSync(join(parent, "run.json"), "not JSON");
    expect(() => loadRun(parent)).toThrow(/is not a run of this version/);
  });
});

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { execaNode } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Trial } from "../results/schema.js";
import { usableTrials } from "../results/validity.js";
import { loadContestants } from "./catalogue.js";
import { type Budget, executeTrial, executeTrials, hasFault, isFaulty, probeDevice } from "./execute.js";
import { describePayloadFile } from "./payload-pool.js";
import { planRun } from "./plan.js";
import { defineScenario, type Profile } from "./scenario.js";
import { openAt, TINY_PROFILE, TINY_SCENARIO, testExecution } from "./test-execution.js";

const MIB = 1024 * 1024;
const testEngine = (fault: string) => `${new URL("./test-engine.js", import.meta.url).href}?fault=${fault}`;

/** What has ended and was not yet buried does not run. */
function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return !existsSync("/proc") || !/\) Z /.test(readFileSync(`/proc/${processId}/stat`, "utf8"));
  } catch {
    return false;
  }
}

let parent: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "logduel-test-"));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

async function execute(
  engines: string[],
  overrides: {
    profile?: Partial<Profile>;
    /** Instead of the profile's, by the trial that begins. */
    limitMs?: (trialId: string) => number;
    payload?: ReturnType<typeof describePayloadFile>;
    onBegin?: () => void;
    scenario?: typeof TINY_SCENARIO;
    signal?: AbortSignal;
    budget?: Budget;
  } = {},
) {
  const used: { -readonly [Key in keyof Profile]: Profile[Key] } = { ...TINY_PROFILE, ...overrides.profile };
  const plan = planRun({
    scenarios: [overrides.scenario ?? TINY_SCENARIO],
    contestants: await loadContestants(engines),
    profileName: "smoke",
    profile: used,
    seed: 1,
    ...(overrides.payload === undefined ? {} : { payload: overrides.payload }),
  });
  const silent = await testExecution(parent, plan, used);
  const execution = {
    ...silent,
    progress: {
      ...silent.progress,
      begin: (_index: number, _count: number, trialId: string) => {
        overrides.onBegin?.();
        if (overrides.limitMs !== undefined) used.trialLimitMs = overrides.limitMs(trialId);
      },
    },
    signal: overrides.signal ?? silent.signal,
  };
  const { store } = execution;
  await executeTrials(plan.trials, execution, overrides.budget);
  return {
    engineFailed: hasFault(store.run),
    execution,
    trials: store.run.trials,
    run: store.finish({ interrupted: false }),
  };
}

const byEngine = (trials: readonly Trial[], name: string) => trials.find(({ engine }) => engine === name)!;

describe("executeTrials", () => {
  it("measures, verifies and stores a trial, and leaves nothing behind", async () => {
    const { trials, engineFailed, run, execution } = await execute([testEngine("none")]);
    const { status, measured, verification, failures } = trials[0]!;
    expect({ status, failures, engineFailed, runStatus: run.status }).toEqual({
      status: "ok",
      failures: [],
      engineFailed: false,
      runStatus: "complete",
    });
    expect(verification!.outcome).toBe("passed");
    expect(verification!.readMessages).toBe(measured!.counters.acknowledgedMessages);
    expect(verification!.checkedBytes).toBe(100 * verification!.expectedMessages);
    expect(measured!.durabilityClass).toBe("D1");
    expect(measured!.acknowledgedCount).toBeGreaterThan(0);
    expect(measured!.serviceTime.sampleCount).toBe(measured!.sentCount);
    expect(measured!.durable.durationNs).toBeGreaterThan(measured!.acknowledged.durationNs);
    expect(measured!.durable.messagesPerSecond).toBeLessThan(measured!.acknowledged.messagesPerSecond);
    expect(measured!.eventLoopUtilisation).toBeGreaterThan(0.5);
    expect(measured!.samples.length).toBeGreaterThan(0);
    const sampled = measured!.samples.reduce((sum, { acknowledgedMessages }) => sum + acknowledgedMessages, 0);
    expect(sampled).toBe(measured!.counters.acknowledgedMessages);
    expect(measured!.cost!.mainThread?.broker ?? null).toBeNull();
    expect(readdirSync(execution.dataDirectory.path)).toEqual([".made-by-logduel"]);
  });

  it("sees an engine that says so at a broker's work", async () => {
    const { trials } = await execute([testEngine("dwells")], { profile: { measureMs: 400 } });
    const { measured, failures } = trials[0]!;
    expect(failures).toEqual([]);
    const { engine, broker } = measured!.cost!.mainThread!;
    expect(broker).toBeGreaterThan(0);
    expect(broker).toBeLessThanOrEqual(engine);
  });

  it.each(["partitioned-log", "commitlog"])(
    "verifies %s when keys choose partitions and sizes vary",
    async (engine) => {
      const keyed = defineScenario({
        ...TINY_SCENARIO,
        engines: [engine],
        messages: { ...TINY_SCENARIO.messages, sizes: "exponential", keys: "zipf", keyCount: 200 },
        settings: { segmentSizeBytes: MIB },
        load: { inFlight: 64, producers: 3 },
      });
      const { trials } = await execute([engine], { scenario: keyed });
      const { failures, measured, verification, configuration } = trials[0]!;
      expect(failures).toEqual([]);
      expect(configuration.messages).toMatchObject({ keys: "zipf", sizes: "exponential" });
      expect(configuration.load).toMatchObject({ producers: 3 });
      expect(verification).toMatchObject({ outcome: "passed", readMessages: measured!.counters.acknowledgedMessages });
      const { payloadBytesPerSecond, messagesPerSecond } = measured!.acknowledged;
      const meanBytes = verification!.checkedBytes / verification!.readMessages;
      expect(payloadBytesPerSecond / messagesPerSecond).toBeCloseTo(meanBytes, 6);
    },
  );

  it.each([
    ["drops", /ends at offset \d+, but \d+ messages were acknowledged/],
    ["duplicates", /ends at offset \d+, but \d+ messages were acknowledged/],
    ["reorders", /holds other bytes at offset \d+ than were sent/],
    ["corrupts", /holds other bytes at offset \d+ than were sent/],
  ])("gives no figures to an engine that %s", async (fault, problem) => {
    const { trials, engineFailed } = await execute([testEngine(fault)]);
    const { status, measured, verification, failures } = trials[0]!;
    expect({ status, measured, outcome: verification!.outcome, engineFailed }).toEqual({
      status: "failed",
      measured: null,
      outcome: "failed",
      engineFailed: true,
    });
    expect(failures[0]).toMatch(problem);
    expect(failures[0]).toMatch(/^Partition topic-\d\/\d /);
  });

  it.each([
    ["throws", /the append failed on purpose/],
    ["crashes", /ended with signal SIGABRT/],
    ["exits", /ended with exit code 3 and no answer: RangeError: out of luck\.$/],
    ["hangs", /time limit of 6 s/],
    ["never-flushes", /time limit of 6 s/],
  ])("goes on to the other engines after one that %s", async (fault, cause) => {
    // Only what hangs meets its limit, however busy the machine is.
    const limitMs = (trialId: string) =>
      trialId.includes("test-engine") && /time limit/.test(cause.source) ? 6_000 : 50_000;
    const { trials, engineFailed } = await execute([testEngine(fault), "null"], { limitMs });
    expect(trials.length).toBe(2);
    expect(engineFailed).toBe(true);
    expect(byEngine(trials, "test-engine")).toMatchObject({ status: "failed", measured: null });
    expect(byEngine(trials, "test-engine").failures[0]).toMatch(cause);
    expect(byEngine(trials, "null").status).toBe("ok");
    expect(byEngine(trials, "null").verification!.outcome).toBe("not-applicable");
  });

  it.each([
    ["unmarks", "ok", null],
    ["litters", "ok", null],
    ["razes", "failed", /ENOENT/],
    ["miscounts", "failed", /^Its answer is not valid at measured\.counters\.batches: /],
  ])("goes on after an engine that %s, and leaves nothing behind", async (fault, status, cause) => {
    const { trials, execution } = await execute([testEngine(fault), "null"]);
    expect(byEngine(trials, "test-engine")).toMatchObject({ status });
    if (cause !== null) expect(byEngine(trials, "test-engine").failures[0]).toMatch(cause);
    expect(byEngine(trials, "null").status).toBe("ok");
    execution.dataDirectory.remove();
    expect(readdirSync(parent)).toEqual(["out"]);
  });

  it("ends what an engine started and left running", async () => {
    const note = join(parent, "note");
    const { trials } = await execute([`${testEngine("spawns")}&note=${note}`]);
    expect(trials[0]!.status).toBe("ok");
    // The test's own limit is the assertion.
    while (isRunning(Number(readFileSync(note, "utf8")))) await sleep(50);
  });

  it.each(["hangs", "hangs-reading"])(
    "leaves no engine that %s behind when the command itself is killed",
    { timeout: 600_000 },
    async (fault) => {
      const note = join(parent, "note");
      const command = execaNode(
        fileURLToPath(new URL("./main.js", import.meta.url)),
        [
          ...["--profile", "smoke", "--scenario", "device-ceiling", "--any-filesystem"],
          ...["--engine", `${testEngine(fault)}&note=${note}`],
        ],
        { cwd: parent, reject: false },
      );
      while (!existsSync(note) || readFileSync(note, "utf8") === "") await sleep(50);
      command.kill("SIGKILL");
      await command;
      // The test's own limit is the assertion.
      while (isRunning(Number(readFileSync(note, "utf8")))) await sleep(50);
    },
  );

  it("stops at a file of payloads that changed, and blames no engine", async () => {
    const path = join(parent, "lines");
    writeFileSync(path, "one\n");
    const payload = describePayloadFile(path);
    await expect(execute(["null"], { payload, onBegin: () => writeFileSync(path, "other\n") })).rejects.toThrow(
      /^The payload file .*lines has changed since the run was planned; start another run\.$/,
    );
  });

  it("lowers the durability class of an engine that claims syncs which never happened", async () => {
    const { trials } = await execute([testEngine("lies")]);
    expect(trials[0]!.measured!.durabilityClass).toBe("D1");
    expect(trials[0]!.warnings.join()).toMatch(/claims D2, but acknowledged \d+ messages with no sync/);
  });

  it("counts acknowledgements of what is not yet written as D0, whatever the engine claims", async () => {
    const { trials } = await execute([testEngine("hoards")]);
    expect(trials[0]!.failures).toEqual([]);
    expect(trials[0]!.measured!.durabilityClass).toBe("D0");
    expect(trials[0]!.warnings.join()).toMatch(/claims D1, but had written less than it had acknowledged/);
  });

  it("leaves its class to an engine that syncs before it acknowledges", async () => {
    const synced = defineScenario({ ...TINY_SCENARIO, engines: ["partitioned-log"], settings: { flush: "sync" } });
    const { trials } = await execute(["partitioned-log"], { scenario: synced });
    expect(trials[0]!.measured!.durabilityClass).toBe("D2");
    expect(trials[0]!.warnings.join()).not.toMatch(/claims/);
  });

  it("says so when an engine never gets steady", async () => {
    const { trials } = await execute([testEngine("wanders")], {
      profile: { warmup: { minimumMs: 100, maximumMs: 300, binMs: 20, windowBins: 5, maximumBytes: 50 * MIB } },
    });
    expect(trials[0]!.measured!.steady).toBe(false);
    expect(trials[0]!.warnings.join()).toMatch(/did not become steady within 0\.\d s of warm-up/);
  });

  it("warns of an engine that leaks, with how much a second and a message", async () => {
    const { trials } = await execute([testEngine("leaks")], {
      profile: {
        warmup: { ...TINY_PROFILE.warmup, maximumBytes: 20_000 },
        measureMs: 1_000,
        maximumBytes: 100_000,
        sampleIntervalMs: 5,
      },
    });
    const { measured, warnings } = trials[0]!;
    expect(measured!.memoryGrowthBytesPerSecond).toBeGreaterThan(1e7);
    expect(warnings.join()).toMatch(/grew by \d+ MB\/s, \d{4,} bytes a message, \d+ MB within the measured interval/);
  });

  it("states with every trial where its time went: what the machine did, the tail's causes, costs, its own sampler", async () => {
    const { trials } = await execute(["partitioned-log"], {
      scenario: defineScenario({ ...TINY_SCENARIO, engines: ["partitioned-log"], settings: { flush: "sync" } }),
      profile: { measureMs: 200 },
    });
    const { measured } = trials[0]!;
    const { tail, cost, samples, samplerCpuFraction } = measured!;
    expect(tail!.causes.reduce((sum, { count }) => sum + count, 0)).toBe(tail!.examinedCount);
    expect(cost!.messageCount).toBe(measured!.sentCount);
    expect(cost!.payloadBytes).toBe(100 * cost!.messageCount);
    expect(cost!.logBytes).toBeGreaterThan(cost!.payloadBytes);
    expect(cost!.syncCalls).toBeGreaterThan(0);
    expect(cost!.allocatedBytes).toBeGreaterThan(0);
    expect(samples.some(({ detail }) => (detail!.events.sync?.count ?? 0) > 0)).toBe(true);
    const recorded = samples.reduce((sum, { detail }) => sum + (detail!.responseTime?.sampleCount ?? 0), 0);
    expect(recorded).toBe(measured!.responseTime.sampleCount);
    // Between sending and a sync's completion the loop sleeps.
    expect(measured!.eventLoopUtilisation).toBeGreaterThan(0);
    expect(measured!.eventLoopUtilisation).toBeLessThan(1);
    expect(samples.some(({ eventLoopUtilisation }) => (eventLoopUtilisation ?? 1) < 1)).toBe(true);
    if (process.platform !== "linux") return;
    expect(samplerCpuFraction).toBeGreaterThan(0);
    expect(cost!.threads!.mainNs).toBeGreaterThan(0);
    expect(cost!.cpuUserNs + cost!.cpuSystemNs).toBeGreaterThan(cost!.threads!.mainNs / 2);
  });

  it("runs open loops at a fraction of the capacity that it measured before", async () => {
    const withOpen = defineScenario({
      ...TINY_SCENARIO,
      load: { inFlight: 64, open: openAt([0.2], ["constant"]) },
    });
    const { trials } = await execute(["null"], { scenario: withOpen });
    const [closedTrial, openTrial] = trials;
    const capacity = closedTrial!.measured!.acknowledged.messagesPerSecond;
    const { load } = openTrial!.configuration;
    expect(load).toMatchObject({ model: "open", ratePerSecond: capacity * 0.2, capacityFraction: 0.2 });
    // A machine that stands still at the end of the interval does not meet the rate, which is no fault of what is tested.
    expect(openTrial!.failures.join()).toMatch(/^$|was not met/);
    expect(openTrial!.measured!.scheduleLag!.sampleCount).toBe(openTrial!.measured!.responseTime.sampleCount);
  });

  it("keeps of a trial that missed its rate how it fell behind, as no figure and no fault", async () => {
    const { trials, execution } = await execute(["null"]);
    const [closedTrial] = trials;
    const plan = planRun({
      scenarios: [TINY_SCENARIO],
      contestants: await loadContestants(["null"]),
      profileName: "smoke",
      profile: TINY_PROFILE,
      seed: 1,
    });
    // No machine sends so many.
    const load = { ...closedTrial!.configuration.load, model: "open" as const, capacityFraction: 1.5 };
    const given = { ...load, arrivals: "constant" as const, ratePerSecond: 5e7 };
    const missed = await executeTrial(plan.trials[0]!, execution, given);
    expect(missed).toMatchObject({
      status: "failed",
      failureKind: "rate",
      failures: [expect.stringMatching(/not met/)],
    });
    expect(isFaulty(missed)).toBe(false);
    const { samples, backlogAtEnd } = missed.measured!;
    expect(backlogAtEnd).toBeGreaterThan(0);
    const backlogs = samples.flatMap(({ backlogMessages }) => backlogMessages ?? []);
    expect(Math.max(...backlogs)).toBeGreaterThan(backlogAtEnd! / 100);
    expect(closedTrial!.measured!.samples.every(({ backlogMessages }) => backlogMessages === undefined)).toBe(true);
    expect(
      usableTrials([missed], "acknowledged", { memoryBytes: 1, isSyncFree: false, allowsNeighbours: true }),
    ).toEqual([]);
  });

  it("fails a closed loop that acknowledges nothing in its interval: 0 a second is no rate", async () => {
    const { trials, engineFailed } = await execute([testEngine("dawdles")]);
    expect(trials[0]).toMatchObject({ status: "failed", failureKind: "rate", measured: { acknowledgedCount: 0 } });
    expect(trials[0]!.failures[0]).toMatch(
      /^Nothing was acknowledged within the measured interval of \d+ ms, of \d+ messages/,
    );
    expect(engineFailed).toBe(false);
  });

  it("says why an open loop has no rate when its engine never succeeded", async () => {
    const withOpen = defineScenario({
      ...TINY_SCENARIO,
      load: { inFlight: 64, open: openAt([0.5], ["constant"]) },
    });
    const { trials } = await execute([testEngine("throws")], { scenario: withOpen });
    expect(trials[1]!.failures[0]).toMatch(/no closed-loop trial of this engine and point succeeded/);
  });

  const compared = defineScenario({ ...TINY_SCENARIO, engines: ["null", "raw"] });
  const within = (milliseconds: number, maximumRepetitions: number) => ({
    deadlineMs: Date.now() + milliseconds,
    maximumRepetitions,
  });

  it("spends a budget in whole blocks after a first pass, with the limits around them", async () => {
    const limited = defineScenario({
      ...TINY_SCENARIO,
      engines: ["raw", "test-engine"],
      baselines: ["null"],
      load: { inFlight: 64, open: openAt([0.1], ["constant"]) },
    });
    const { trials, run } = await execute(["null", "raw", testEngine("none")], {
      scenario: limited,
      budget: within(40_000, 2),
    });
    const [first, last] = [trials.at(0)!, trials.at(-1)!];
    expect([first.engine, first.phase, last.engine, last.phase]).toEqual(["null", "before", "null", "after"]);
    const closed = trials.filter(
      ({ configuration, phase }) => configuration.load.model === "closed" && phase === "trials",
    );
    const repetitions = (engine: string) =>
      closed.filter((trial) => trial.engine === engine).map(({ repetition }) => repetition);
    expect(repetitions("raw")).toEqual(repetitions("test-engine"));
    expect(repetitions("raw").length).toBeLessThanOrEqual(2);
    expect(trials.map(({ order }) => order)).toEqual([...trials.keys()]);
    expect([run.plannedTrialCount, run.status]).toEqual([trials.length, "complete"]);
    const rates = trials.flatMap(({ engine, configuration: { load } }) =>
      load.model === "open" && engine === "raw" ? [load.ratePerSecond] : [],
    );
    expect(new Set(rates).size).toBe(1);
  });

  it("begins no trial after its budget, is partial when a point is left without, and says what stays open", async () => {
    const { trials, run } = await execute(["null", "raw"], { scenario: compared, budget: within(0, 3) });
    expect({ done: trials.length, status: run.status }).toEqual({ done: 0, status: "partial" });
    expect(run.unresolved).toMatchObject([
      { what: "comparison", scenarioId: "tiny", load: { model: "closed" }, pairCount: 0, interval: null },
    ]);
  });

  it("kills the trial under way when it is interrupted, and does not keep it", async () => {
    const interruption = new AbortController();
    setTimeout(() => interruption.abort(), 700);
    // Nothing but the interruption ends this trial before the test's own limit.
    const { trials } = await execute([testEngine("hangs"), "null"], {
      signal: interruption.signal,
      limitMs: () => 3_600_000,
    });
    expect(trials.filter(({ engine }) => engine === "test-engine")).toEqual([]);
  });
});

describe("probeDevice", () => {
  it("measures every pattern with latencies and removes its files", async () => {
    const { execution } = await execute(["null"]);
    const { results } = await probeDevice(execution, 1);
    const own = results.filter(({ tool }) => tool === "logduel");
    expect(own.map(({ id }) => id).sort()).toEqual([
      "buffered-write",
      "direct-write",
      "random-read",
      "random-read",
      "sequential-read",
      "sync-append",
      "sync-overwrite",
    ]);
    for (const result of own.filter(({ unavailable }) => unavailable === null)) {
      expect(result.operations).toBeGreaterThan(0);
      expect(result.latency!.sampleCount).toBe(result.operations);
      expect(result.bytesPerSecond).toBeCloseTo(result.operationsPerSecond * result.blockSizeBytes, 0);
    }
    for (const result of own.filter(({ unavailable }) => unavailable !== null)) {
      expect(result.unavailable).toMatch(/refused|platform/);
    }
    expect(existsSync(execution.dataDirectory.path)).toBe(true);
    expect(readdirSync(execution.dataDirectory.path)).toEqual([".made-by-logduel"]);
  });
});

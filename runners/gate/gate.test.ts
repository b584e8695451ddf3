import { describe, expect, it } from "vitest";
import { seededRandom } from "../../results/random.js";
import type { DurabilityClass } from "../../results/schema.js";
import { compareWithBaseline, sampleAlone } from "./baseline.js";
import type { Arm } from "./blocks.js";
import { SAME_BUILD } from "./builds.js";
import { type GateSetup, MOST_BLOCKS, runGate } from "./gate.js";
import { TrialFailedError } from "./measure.js";
import { PROFILES } from "./workloads.js";

const TRIAL_MS = 1_000;
const BUDGET_MS = 480_000;

interface Machine {
  setup: GateSetup;
  /** Every timed trial in the order run. */
  log: { cell: string; arm: Arm; ratePerSecond: number; atMs: number }[];
  nowMs: () => number;
}

interface Behaviour {
  /** Cost of a trial of this arm, 1 where not told. */
  cost?: (arm: Arm, cell: string) => number;
  counters?: (arm: Arm) => Record<string, number>;
  busyFraction?: number;
  budgetMs?: number;
  /** By how many were run before. */
  trialMs?: (trial: number) => number;
  missing?: string[];
  profile?: string;
  seed?: number;
  /** The reference's acknowledgements mean D2. */
  candidateClass?: DurabilityClass;
}

/** A machine made of a clock and some noise: no process, no disk. */
function machine(behaviour: Behaviour = {}): Machine {
  const { cost = () => 1, counters = () => ({ syncCalls: 5 }), busyFraction = 0, seed = 1 } = behaviour;
  const { candidateClass = "D2" } = behaviour;
  const random = seededRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  let nowMs = 0;
  const log: Machine["log"] = [];
  const engines = { reference: "x", guard: "x", candidate: "x" };
  const settings = { reference: {}, guard: {}, candidate: {} };
  const setup: GateSetup = {
    bench: {
      builds: SAME_BUILD,
      settings,
      // Nothing is run here, so nothing is written.
      dataDirectory: null as never,
      duetProcessors: [0, 1],
      scratchDirectory: "",
      signal: new AbortController().signal,
    },
    subjects: [
      { name: "one", sources: engines },
      { name: "two", sources: engines },
    ],
    workloads: PROFILES[behaviour.profile ?? "gate"]!.workloads,
    seed,
    deadlineMs: behaviour.budgetMs ?? BUDGET_MS,
    mostBlocks: MOST_BLOCKS,
    deviceStatPath: null,
    missing: behaviour.missing ?? [],
    tell: () => {},
    instruments: {
      nowMs: () => nowMs,
      listen: async () => ({ busyFraction, writtenBytesPerSecond: 0 }),
      count: async (_bench, _workload, { arm }) => {
        nowMs += 500;
        return { totals: counters(arm), durabilityClass: arm === "candidate" ? candidateClass : "D2" };
      },
      measure: async (_bench, { id, kind }, trials, ratePerSecond) =>
        trials.map(({ arm, subject }): Record<string, number> => {
          const cell = `${subject.name}/${id}`;
          log.push({ cell, arm, ratePerSecond, atMs: nowMs });
          nowMs += behaviour.trialMs?.(log.length) ?? TRIAL_MS;
          const time = 1000 * cost(arm, cell) * Math.exp(0.02 * normal());
          if (kind === "recovery") return { recoveryTime: time };
          if (kind === "open") return { responseP99: time, responseP50: time / 10 };
          if (kind === "duet") return { cpuPerMessage: time };
          return { durableThroughput: 1e9 / time, acknowledgedThroughput: 1e9 / time, residentBytes: 1e8 };
        }),
    },
  };
  return { setup, log, nowMs: () => nowMs };
}

const slower = (factor: number, where: RegExp) => (arm: Arm, cell: string) =>
  arm === "candidate" && where.test(cell) ? factor : 1;

describe("a gate", () => {
  it("passes when nothing changed, and ends before its budget when nothing is open", async () => {
    const { setup, nowMs } = machine();
    const findings = await runGate(setup);
    expect(findings).toMatchObject({ outcome: "passed", exitCode: 0, failures: [], doubts: [] });
    expect(findings.figures).toHaveLength(14);
    expect(nowMs()).toBeLessThan(0.7 * BUDGET_MS);
  });

  it("finds a slow-down of 10 % of one engine under one load, names it, and nothing else", async () => {
    const findings = await runGate(machine({ cost: slower(1.1, /one\/recovery/) }).setup);
    expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
    expect(findings.reasons).toEqual([
      "one/recovery/recoveryTime: worse by more than 5 %, and again when re-run in reversed order.",
    ]);
    const gated = findings.figures.filter(({ verdict }) => verdict === "regression");
    expect(gated.map(({ id }) => id)).toEqual(["one/recovery/recoveryTime"]);
  });

  it("confirms in fresh blocks with candidate and reference exchanged, of the suspect's cell alone", async () => {
    const { setup } = machine({ cost: slower(1.1, /one\/recovery/) });
    const { figures } = await runGate(setup);
    const suspect = figures.find(({ id }) => id === "one/recovery/recoveryTime")!;
    const sides = (order: string) => order.replaceAll("G", "R");
    const exchanged = (order: string) => [...sides(order)].map((side) => (side === "R" ? "C" : "R")).join("");
    const first = suspect.screen.blocks.map(({ order }) => exchanged(order));
    const again = suspect.confirmation!.blocks.map(({ order }) => sides(order));
    expect(again.length).toBeGreaterThanOrEqual(5);
    expect(again).toEqual(first.slice(0, again.length));
    expect(figures.filter(({ confirmation }) => confirmation !== null)).toHaveLength(1);
  });

  it("never alarms because of the reference: A/A unequal is inconclusive", async () => {
    const cost = (arm: Arm) => (arm === "guard" ? 1.3 : arm === "candidate" ? 2 : 1);
    const findings = await runGate(machine({ cost }).setup);
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    expect(findings.reasons.join()).toContain("the reference differs from itself");
  });

  it("keeps within its budget", async () => {
    for (const budgetMs of [330_000, 700_000]) {
      const { setup, nowMs } = machine({ cost: slower(1.2, /./), budgetMs });
      expect((await runGate(setup)).outcome).toBe("regression");
      expect(nowMs()).toBeLessThanOrEqual(budgetMs + 24 * TRIAL_MS);
    }
  });

  it("says what budget it needs when its own cannot decide anything", async () => {
    const { setup, nowMs } = machine({ budgetMs: 100_000 });
    const findings = await runGate(setup);
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3, figures: [] });
    expect(findings.reasons[0]).toMatch(
      /8 gated figures need 8 blocks, a re-run, and about \d+ min more than the budget/,
    );
    expect(nowMs()).toBeLessThan(100_000);
  });

  it("times nothing when counting alone has used up the budget", async () => {
    const { setup, log } = machine({ budgetMs: 1_000 });
    expect(await runGate(setup)).toMatchObject({ outcome: "inconclusive", exitCode: 3, figures: [] });
    expect(log).toEqual([]);
  });

  it("leaves a suspicion open that it has no time left to confirm, and plans for that time", async () => {
    const outcomes: string[] = [];
    for (let budgetMs = 160_000; budgetMs <= 600_000; budgetMs += 20_000) {
      const findings = await runGate(machine({ cost: slower(1.4, /two\/open/), budgetMs }).setup);
      if (findings.figures.length > 0) outcomes.push(findings.outcome);
    }
    expect(outcomes.length).toBeGreaterThan(10);
    const confirmed = outcomes.indexOf("regression");
    expect(outcomes.slice(0, confirmed).every((outcome) => outcome === "inconclusive")).toBe(true);
    expect(outcomes.slice(confirmed).every((outcome) => outcome === "regression")).toBe(true);
    expect(confirmed).toBeLessThan(5);
  });

  it("keeps the time to confirm when blocks take twice as long as the first promised", async () => {
    const trialMs = (trial: number) => (trial < 60 ? TRIAL_MS : 2 * TRIAL_MS);
    const findings = await runGate(machine({ cost: slower(1.4, /two\/open/), trialMs, budgetMs: 850_000 }).setup);
    expect(findings.outcome).toBe("regression");
  });

  it("sends an open load to every arm at the same rate, a share of the reference's capacity", async () => {
    const { setup, log } = machine({ cost: slower(3, /closed/) });
    await runGate(setup);
    const rates = new Set(log.filter(({ cell }) => cell === "one/open").map(({ ratePerSecond }) => ratePerSecond));
    const timed = [...rates].filter((rate) => rate > 0);
    expect(timed).toHaveLength(1);
    expect(timed[0]! / 1e6).toBeCloseTo(0.7, 1);
  });

  it("lets a counter fail the run by itself, also where timings say nothing", async () => {
    const counters = (arm: Arm) => ({ syncCalls: arm === "candidate" ? 6 : 5 });
    const findings = await runGate(machine({ counters, budgetMs: 100_000 }).setup);
    expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
    expect(findings.reasons[0]).toBe("one/appending/syncCalls: 0.00001 more for each message.");
  });

  it("counts again before it believes that a counter differs", async () => {
    let runs = 0;
    const counters = (arm: Arm) => ({ syncCalls: arm === "candidate" && ++runs <= 2 ? 6 : 5 });
    const findings = await runGate(machine({ counters }).setup);
    expect(findings.outcome).toBe("passed");
    expect(findings.counters[0]).toMatchObject({ verdict: "not-repeatable", candidate: [6, 6, 5, 5] });
  });

  it("counts no longer than it tells something: what does not repeat is left at that", async () => {
    let runs = 0;
    const counters = () => ({ allocatedBytes: 20_000_000 * ++runs });
    const findings = await runGate(machine({ counters }).setup);
    expect(findings.counters).toHaveLength(4);
    expect(findings.counters.every(({ verdict }) => verdict === "not-repeatable")).toBe(true);
    expect(runs).toBe(16);
  });

  it("fails where an acknowledgement means less than before, and only tells it where engines or settings differ", async () => {
    const behaviour: Behaviour = { candidateClass: "D1", profile: "counters" };
    const findings = await runGate(machine(behaviour).setup);
    expect(findings).toMatchObject({ outcome: "failed", exitCode: 4 });
    expect(findings.failures[0]).toBe(
      "one/appending: an acknowledgement means D1 and meant D2 in the reference: less than before.",
    );
    const { setup } = machine(behaviour);
    const settings = { ...setup.bench.settings, candidate: { flush: "async" } };
    const chosen = await runGate({ ...setup, bench: { ...setup.bench, settings } });
    expect(chosen).toMatchObject({ outcome: "passed", failures: [] });
    expect(chosen.doubts).toHaveLength(4);
    expect(chosen.doubts[0]).toMatch(/their timings are not of the same thing/);
    expect(await runGate(machine({ ...behaviour, candidateClass: "D3" }).setup)).toMatchObject({ exitCode: 0 });
  });

  it("tells that others keep the machine busy, and still decides: they slow both sides", async () => {
    const findings = await runGate(machine({ busyFraction: 0.8, cost: slower(1.1, /one\/recovery/) }).setup);
    expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
    expect(findings.doubts[0]).toContain("busy with something else");
  });

  it("fails with the engine's own words when a trial fails, and when something is missing", async () => {
    const { setup } = machine();
    const measure = async () => {
      throw new TrialFailedError("one/closed, candidate: Partition topic-0/1 ends at offset 7.");
    };
    const findings = await runGate({ ...setup, instruments: { ...setup.instruments, measure } });
    expect(findings).toMatchObject({ outcome: "failed", exitCode: 4 });
    expect(findings.reasons[0]).toContain("ends at offset 7");
    const missing = ["The scenario linger was there before and is missing now."];
    expect(await runGate(machine({ missing }).setup)).toMatchObject({ exitCode: 4, reasons: missing });
  });
});

describe("invalid trials", () => {
  const text = "The hypervisor withheld 30 % of the processors' time.";
  /** Of `one/cpu`, the n-th trial where `isInvalid`. */
  const spoilt = (behaviour: Behaviour, isInvalid: (trial: number) => boolean): GateSetup => {
    const { setup } = machine(behaviour);
    let trial = 0;
    const measure: GateSetup["instruments"]["measure"] = async (bench, workload, trials, rate) => {
      const all = await setup.instruments.measure(bench, workload, trials, rate);
      return all.map(({ cpuPerMessage, ...others }, at) => {
        if (cpuPerMessage === undefined) return others;
        const isSpoilt = trials[at]!.subject.name === "one" && isInvalid(trial++);
        return { cpuPerMessage: isSpoilt ? { value: cpuPerMessage as number, invalid: text } : cpuPerMessage };
      });
    };
    return { ...setup, instruments: { ...setup.instruments, measure } };
  };
  const id = "one/cpu/cpuPerMessage";

  it("make a figure inconclusive, neither passed nor failed, whatever they say", async () => {
    for (const factor of [1, 1.5]) {
      const findings = await runGate(
        spoilt({ profile: "short", budgetMs: 150_000, cost: slower(factor, /one/) }, () => true),
      );
      const figure = findings.figures.find((one) => one.id === id)!;
      expect(figure).toMatchObject({ verdict: "inconclusive", rulesOutSlowdown: false });
      expect(figure.reason).toMatch(/^\d+ of \d+ blocks have invalid trials \(The hypervisor withheld 30 %/);
      expect(findings.reasons.join()).toContain(id);
      if (factor === 1) expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    }
  });

  it("cost their block alone where enough others are left", async () => {
    const findings = await runGate(spoilt({ cost: slower(1.1, /one.(cpu|closed)/) }, (trial) => trial === 13));
    const cpu = findings.figures.find((one) => one.id === id)!;
    const throughput = findings.figures.find((one) => one.id === "one/closed/durableThroughput")!;
    expect(cpu.screen.blocks).toHaveLength(throughput.screen.blocks.length - 1);
    expect(findings.doubts).toEqual([expect.stringMatching(/^one\/cpu\/cpuPerMessage: 1 of \d+ blocks are left out/)]);
    expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
  });

  it("are not compared with a baseline, nor stored as one", async () => {
    const samples = await sampleAlone(machine({ profile: "short", seed: 7 }).setup);
    const baseline = { samples } as Parameters<typeof compareWithBaseline>[1];
    const findings = await compareWithBaseline(
      spoilt({ profile: "short" }, () => true),
      baseline,
      true,
    );
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    expect(findings.reasons.join()).toContain("trials are invalid");
    await expect(sampleAlone(spoilt({ profile: "short" }, () => true))).rejects.toThrow(
      /^No baseline was stored\. one/,
    );
  });
});

describe("a stored baseline", () => {
  const storedOn = async (behaviour: Behaviour) => {
    const samples = await sampleAlone(machine({ profile: "short", ...behaviour, seed: 7 }).setup);
    return { samples } as Parameters<typeof compareWithBaseline>[1];
  };
  const now = (behaviour: Behaviour) => machine({ profile: "short", ...behaviour, seed: 8 }).setup;

  it("passes against the same code on the same machine", async () => {
    const findings = await compareWithBaseline(now({}), await storedOn({}), true);
    expect(findings).toMatchObject({ outcome: "passed", failures: [], doubts: [] });
    expect(findings.figures.map(({ id }) => id)).not.toContain("raw/cpu/cpuPerMessage");
  });

  it("finds what has become slower", async () => {
    const findings = await compareWithBaseline(now({ cost: slower(1.1, /one/) }), await storedOn({}), true);
    expect(findings).toMatchObject({ outcome: "regression", exitCode: 1 });
    expect(findings.figures.every(({ screen }) => screen.guard === null)).toBe(true);
  });

  it("is inconclusive on a machine that others keep busy: they were not there then", async () => {
    const findings = await compareWithBaseline(now({ busyFraction: 0.8 }), await storedOn({}), true);
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
  });

  it("is inconclusive when raw has changed too: then the machine has", async () => {
    const findings = await compareWithBaseline(now({ cost: () => 1.15 }), await storedOn({}), true);
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    expect(findings.doubts.join()).toContain("The machine is not what it was");
  });

  it("of another machine is shown and not judged", async () => {
    const findings = await compareWithBaseline(now({ cost: slower(1.5, /one/) }), await storedOn({}), false);
    expect(findings).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    expect(findings.figures.every(({ gated }) => !gated)).toBe(true);
  });

  it("spends no time on an engine that it does not know, and says so", async () => {
    const told: string[] = [];
    const { samples } = await storedOn({});
    const of = <T>(values: Readonly<Record<string, T>>) =>
      Object.fromEntries(Object.entries(values).filter(([id]) => !id.startsWith("two/")));
    const known = { counters: of(samples.counters), figures: of(samples.figures), rates: of(samples.rates) };
    const setup = { ...now({}), tell: (line: string) => void told.push(line) };
    const findings = await compareWithBaseline(
      setup,
      { samples: known } as Parameters<typeof compareWithBaseline>[1],
      true,
    );
    expect(findings).toMatchObject({ outcome: "passed", failures: [] });
    expect(told).toContain("two is not in the baseline: it is left out.");
    expect(told.filter((line) => line.includes("two/"))).toEqual([]);
    expect(findings.figures.map(({ id }) => id).filter((id) => id.startsWith("two/"))).toEqual([]);
  });

  it("names what it measured and is gone", async () => {
    const setup = now({});
    const gone = { ...setup, subjects: setup.subjects.slice(0, 1) };
    const findings = await compareWithBaseline(gone, await storedOn({}), true);
    expect(findings).toMatchObject({ outcome: "failed", exitCode: 4 });
    expect(findings.failures).toContain("two/appending was measured for the baseline and is missing now.");
  });
});

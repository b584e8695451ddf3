import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GateBlock } from "../../results/gate.js";
import { type Random, seededRandom } from "../../results/random.js";
import { type Arm, blockOrders, reversedOrders } from "./blocks.js";
import {
  type Conclusion,
  compareCounter,
  conclude,
  type FigureBlocks,
  fewestBlocks,
  outcomeOf,
  screen,
} from "./decide.js";

/** How much slower than usual the machine is at its n-th trial; the next call is the next trial. */
type Machine = (random: Random) => () => number;

const normal = (random: Random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

const calm: Machine = (random) => () => Math.exp(0.03 * normal(random));

/** Steal: now and then a neighbour takes the processor for a good part of a trial. */
const steal: Machine = (random) => {
  const rest = calm(random);
  return () => rest() * (random() < 0.15 ? 1 - Math.log(1 - random()) / 2 : 1);
};

/** A second writer that comes and goes: what is slow stays slow for some trials. */
const secondWriter: Machine = (random) => {
  const rest = calm(random);
  let isWriting = false;
  return () => {
    if (random() < 0.2) isWriting = !isWriting;
    return rest() * (isWriting ? 1.6 : 1);
  };
};

/** The disk fills up, the machine heats up: later trials are slower, faster and faster so. */
const drift: Machine = (random) => {
  const rest = calm(random);
  let trial = 0;
  return () => rest() * (1 + 0.004 * trial + 0.00004 * (trial++) ** 2);
};

/** Each process lands in one of two modes, by its memory layout. */
const bimodal: Machine = (random) => {
  const rest = calm(random);
  return () => rest() * (random() < 0.5 ? 1.25 : 1);
};

/** The first trial of every block finds cold caches. */
const coldStart: Machine = (random) => {
  const rest = calm(random);
  let trial = 0;
  return () => rest() * (trial++ % 4 === 0 ? 1.3 : 1);
};

const machines = { calm, steal, secondWriter, drift, bimodal, coldStart };

const figureOf = (id: string) => ({
  id,
  title: id,
  unit: "ns",
  better: "lower" as const,
  margin: 0.03,
  equivalenceMargin: 0.1,
  gated: true,
});

/** Runs the figures' blocks on a machine; figures of one trial share its luck, each with some of its own. */
function runBlocks(orders: Arm[][], slowdowns: number[], slowness: () => number, random: Random): GateBlock[][] {
  const figures: GateBlock[][] = slowdowns.map(() => []);
  for (const order of orders) {
    const blocks = slowdowns.map(() => ({
      reference: [] as number[],
      guard: [] as number[],
      candidate: [] as number[],
    }));
    for (const arm of order) {
      const shared = slowness();
      blocks.forEach((block, at) => {
        const own = Math.exp(0.02 * normal(random));
        block[arm].push(1000 * shared * own * (arm === "candidate" ? slowdowns[at]! : 1));
      });
    }
    blocks.forEach((block, at) => {
      figures[at]!.push({ order: order.map((arm) => arm[0]!.toUpperCase()).join(""), isDuet: false, ...block });
    });
  }
  return figures;
}

function runGate(machine: Machine, slowdowns: number[], seed: number, blockCount = 10): Conclusion {
  const random = seededRandom(seed);
  const slowness = machine(random);
  const orders = blockOrders(blockCount, seed);
  const figures: FigureBlocks[] = runBlocks(orders, slowdowns, slowness, random).map((blocks, at) => ({
    ...figureOf(`figure-${at}`),
    blocks,
  }));
  const screened = screen(figures);
  const rerun = runBlocks(reversedOrders(orders), slowdowns, slowness, random);
  const confirmations = new Map(
    screened.flatMap((figure, at) => (figure.isSuspect || figure.isOpen ? [[figure.id, rerun[at]!] as const] : [])),
  );
  return outcomeOf(conclude(screened, confirmations), [], [], []);
}

function exitCodes(machine: Machine, slowdowns: number[], gateCount: number): Record<number, number> {
  const counts: Record<number, number> = { 0: 0, 1: 0, 3: 0 };
  for (let seed = 0; seed < gateCount; seed++) counts[runGate(machine, slowdowns, seed).exitCode]!++;
  return counts;
}

describe("planted noise", () => {
  for (const [name, machine] of Object.entries(machines)) {
    it(`of the kind "${name}" gives no false alarm in 150 gates of 8 figures`, () => {
      expect(exitCodes(machine, new Array(8).fill(1), 150)[1]).toBe(0);
    });
  }

  it("a calm machine passes: no needless doubt", () => {
    expect(exitCodes(calm, new Array(8).fill(1), 60)[0]).toBeGreaterThanOrEqual(57);
  });

  it("a reference that differs from itself makes every timing inconclusive, whatever the candidate did", () => {
    const orders = blockOrders(10, 1);
    const random = seededRandom(1);
    const [blocks] = runBlocks(orders, [2], calm(random), random);
    const unequal = blocks!.map((block) => ({ ...block, guard: block.guard.map((value) => value * 1.2) }));
    const screened = screen([{ ...figureOf("a"), blocks: unequal }]);
    const figures = conclude(screened, new Map([["a", unequal]]));
    expect(figures[0]!.verdict).toBe("inconclusive");
    expect(outcomeOf(figures, [], [], [])).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
  });
});

describe("planted regressions", () => {
  it("a slow-down of 10 % of one figure of 8 is found in at least 95 of 100 gates on a calm machine", () => {
    expect(exitCodes(calm, [1.1, 1, 1, 1, 1, 1, 1, 1], 100)[1]).toBeGreaterThanOrEqual(95);
  });

  it("a slow-down of 10 % is found through drift as well as on a calm machine", () => {
    expect(exitCodes(drift, [1.1, 1, 1, 1], 50)[1]).toBeGreaterThanOrEqual(47);
  });

  it("noise costs power, and the gate says so: what it cannot find under heavy steal it calls inconclusive", () => {
    const counts = exitCodes(steal, [1.2, 1, 1, 1], 50);
    expect(counts[1]).toBeGreaterThanOrEqual(15);
    expect(counts[0]).toBe(0);
  });

  it("a slow-down within the margin is no regression", () => {
    expect(exitCodes(calm, [1.02, 1.02, 1.02, 1.02], 100)[1]).toBe(0);
  });

  it("an improvement never fails", () => {
    const counts = exitCodes(calm, [0.7, 1, 0.98, 1], 50);
    expect(counts[1]).toBe(0);
    expect(counts[0]).toBeGreaterThanOrEqual(45);
  });

  it("of figures of which more is better is a fall", () => {
    const random = seededRandom(3);
    const [rates] = runBlocks(blockOrders(8, 3), [0.8], calm(random), random);
    const figure = { ...figureOf("rate"), better: "higher" as const, blocks: rates! };
    expect(conclude(screen([figure]), new Map([["rate", rates!]]))[0]).toMatchObject({ verdict: "regression" });
    expect(screen([{ ...figure, better: "lower" }])[0]!.isSuspect).toBe(false);
  });
});

describe("the two stages", () => {
  const random = seededRandom(9);
  const orders = blockOrders(10, 9);
  const [slow, equal] = runBlocks(orders, [1.15, 1], calm(random), random);
  const suspect = screen([{ ...figureOf("a"), blocks: slow! }]);

  it("call nothing a regression that the re-run does not confirm", () => {
    expect(suspect[0]!.isSuspect).toBe(true);
    const unconfirmed = conclude(suspect, new Map([["a", equal!]]));
    expect(unconfirmed[0]).toMatchObject({ verdict: "inconclusive", rulesOutSlowdown: true });
    expect(outcomeOf(unconfirmed, [], [], []).exitCode).toBe(0);
    expect(conclude(suspect, new Map())[0]).toMatchObject({ verdict: "inconclusive", confirmation: null });
    expect(conclude(suspect, new Map([["a", slow!]]))[0]!.verdict).toBe("regression");
  });

  it("never fail a run by a figure that is only watched", () => {
    const watched = conclude(screen([{ ...figureOf("a"), gated: false, blocks: slow! }]), new Map());
    expect(watched[0]!.verdict).toBe("regression");
    expect(outcomeOf(watched, [], [], []).exitCode).toBe(0);
  });

  it("need enough blocks: with one fewer than the fewest nothing could ever fail", () => {
    for (const gatedCount of [1, 2, 4, 8, 40]) {
      const least = fewestBlocks(gatedCount);
      const figures = (blockCount: number) =>
        Array.from({ length: gatedCount }, (_, at) => ({
          ...figureOf(`f${at}`),
          blocks: Array.from({ length: blockCount }, () => ({
            order: "RCCG",
            isDuet: false,
            reference: [1],
            guard: [1],
            candidate: at === 0 ? [3, 3] : [1, 1],
          })),
        }));
      expect(screen(figures(least))[0]!.isSuspect).toBe(true);
      expect(screen(figures(least - 1))[0]!.isSuspect).toBe(false);
    }
  });

  it("interval and p agree: the p beyond the margin is at most 5 % exactly when the interval lies beyond it", () => {
    const ratio = fc.double({ min: 0.8, max: 1.4, noNaN: true });
    fc.assert(
      fc.property(fc.uniqueArray(ratio, { minLength: 5, maxLength: 10 }), (ratios) => {
        const blocks = ratios.map((value) => ({
          order: "RC",
          isDuet: false,
          reference: [1],
          guard: [1],
          candidate: [value],
        }));
        const { candidate } = screen([{ ...figureOf("a"), blocks }])[0]!.screen;
        expect(candidate.pWorse <= 0.05).toBe(candidate.ratio.lower > 1.03);
        expect(candidate.pBetter <= 0.05).toBe(candidate.ratio.upper < 1 / 1.03);
      }),
    );
  });
});

describe("counters", () => {
  const runs = (reference: number[], candidate: number[], resolution = 0) =>
    compareCounter({ id: "a/syncs", title: "syncs", messageCount: 1000, reference, candidate, resolution });

  it("need no statistics: one more write in a thousand messages is a regression", () => {
    expect(runs([63, 63], [63, 63]).verdict).toBe("equal");
    expect(runs([63, 63], [64, 64])).toMatchObject({ verdict: "regression", reason: "0.001 more for each message" });
    expect(runs([63, 63], [62, 62])).toMatchObject({ verdict: "improvement", reason: "0.001 fewer for each message" });
  });

  it("say nothing where a side does not repeat, unless every repetition has risen above a reference that does", () => {
    expect(runs([63, 64], [90, 90]).verdict).toBe("not-repeatable");
    expect(runs([63, 63], [63, 70]).verdict).toBe("not-repeatable");
    expect(runs([63, 63], [70, 74])).toMatchObject({ verdict: "regression", reason: "0.007 more for each message" });
  });

  it("ignore differences below their resolution", () => {
    expect(runs([40_000, 40_900], [41_000, 44_000], 8000).verdict).toBe("equal");
    expect(runs([40_000, 40_900], [64_000, 64_000], 8000).verdict).toBe("regression");
  });
});

describe("the outcome", () => {
  const rose = compareCounter({
    id: "e/w/syncCalls",
    title: "syncs",
    messageCount: 10,
    reference: [10, 10],
    candidate: [20, 20],
    resolution: 0,
  });

  it("puts failures first, then regressions, then doubt", () => {
    expect(outcomeOf([], [rose], ["wrong data"], ["tmpfs"])).toMatchObject({ outcome: "failed", exitCode: 4 });
    expect(outcomeOf([], [rose], [], ["tmpfs"])).toMatchObject({ outcome: "regression", exitCode: 1 });
    expect(outcomeOf([], [], [], ["tmpfs"])).toMatchObject({
      outcome: "inconclusive",
      exitCode: 3,
      reasons: ["tmpfs"],
    });
    expect(outcomeOf([], [], [], [])).toMatchObject({ outcome: "passed", exitCode: 0 });
  });

  it("takes every verdict back where the reference differs from itself, or the machine has changed", () => {
    const blocks = (cost: Partial<Record<Arm, number>>) =>
      blockOrders(10, 1).map((order, at) => {
        const of = (arm: Arm) =>
          order.filter((one) => one === arm).map(() => 1000 * (cost[arm] ?? 1) * (1 + at / 10_000));
        const values = { reference: of("reference"), guard: of("guard"), candidate: of("candidate") };
        return { order: order.map((arm) => arm[0]!.toUpperCase()).join(""), isDuet: false, ...values };
      });
    const slow = { ...figureOf("slow"), blocks: blocks({ candidate: 1.5 }) };
    const strange = { ...figureOf("strange"), blocks: blocks({ guard: 1.5 }) };
    const judged = (figures: FigureBlocks[]) =>
      conclude(screen(figures), new Map(figures.map(({ id, blocks }) => [id, blocks])));
    expect(outcomeOf(judged([slow]), [], [], []).figures[0]!.verdict).toBe("regression");
    const withGuard = outcomeOf(judged([slow, strange]), [], [], []);
    expect(withGuard).toMatchObject({ outcome: "inconclusive", exitCode: 3 });
    const onOtherMachine = outcomeOf(judged([slow]), [], [], ["The machine is not what it was."]);
    for (const { figures } of [withGuard, onOtherMachine]) {
      expect(figures.map(({ verdict }) => verdict)).toEqual(figures.map(() => "inconclusive"));
      expect(figures[0]!.reason).toMatch(/again when re-run in reversed order; not believed/);
    }
  });

  it("names each regression with its reason", () => {
    expect(outcomeOf([], [rose], [], []).reasons).toEqual(["e/w/syncCalls: 1 more for each message."]);
  });
});

describe("against a stored baseline", () => {
  const random = seededRandom(21);
  const trials = (factor: number) => Array.from({ length: 12 }, () => 1000 * factor * Math.exp(0.03 * normal(random)));
  const stored = trials(1);
  const against = (now: number[]) => ({
    ...figureOf("a"),
    blocks: [{ order: "R".repeat(12) + "C".repeat(12), isDuet: false, reference: stored, guard: [], candidate: now }],
  });

  it("compares independent trials, without a guard", () => {
    const equal = screen([against(trials(1))])[0]!;
    expect(equal).toMatchObject({ isSuspect: false, isOpen: false });
    expect(equal.screen).toMatchObject({ guard: null, guardAlarms: false });
    expect(screen([against(trials(1.15))])[0]!.isSuspect).toBe(true);
    expect(screen([against(trials(0.8))])[0]!.screen.candidate.pBetter).toBeLessThan(0.001);
  });

  it("confirms too", () => {
    const suspect = screen([against(trials(1.15))]);
    const rerun = (factor: number) => new Map([["a", against(trials(factor)).blocks]]);
    expect(conclude(suspect, rerun(1.15))[0]!.verdict).toBe("regression");
    expect(conclude(suspect, rerun(1))[0]!.verdict).toBe("inconclusive");
  });

  it("agrees with itself: p beyond the margin is at most 5 % exactly when the interval lies beyond it", () => {
    for (let factor = 0.9; factor < 1.15; factor += 0.01) {
      const { candidate } = screen([against(trials(factor))])[0]!.screen;
      expect(candidate.pWorse <= 0.05).toBe(candidate.ratio.lower > 1.03);
      expect(candidate.pBetter <= 0.05).toBe(candidate.ratio.upper < 1 / 1.03);
    }
  });
});

describe("a duet", () => {
  const random = seededRandom(31);
  const orders = blockOrders(8, 3);
  /** Two processors of which one is slower by a different factor in each block, and pairs that share it. */
  const duets = (cost: Record<Arm, number>): FigureBlocks => ({
    ...figureOf("cpu"),
    blocks: orders.map((order) => {
      const speeds = [1, Math.exp(0.4 * normal(random))];
      const values: Record<Arm, number[]> = { reference: [], guard: [], candidate: [] };
      order.forEach((arm, at) => {
        values[arm].push(1000 * cost[arm] * speeds[at < 2 ? 0 : 1]! * Math.exp(0.01 * normal(random)));
      });
      return { order: order.map((arm) => arm[0]!.toUpperCase()).join(""), isDuet: true, ...values };
    }),
  });

  it("finds what is lost on processors that differ by more", () => {
    const [slow] = screen([duets({ reference: 1, guard: 1, candidate: 1.08 })]);
    expect(slow).toMatchObject({ isSuspect: true });
    expect(slow!.screen.candidate.ratio.point).toBeCloseTo(1.08, 1);
    const [equal] = screen([duets({ reference: 1, guard: 1, candidate: 1 })]);
    expect(equal).toMatchObject({ isSuspect: false, isOpen: false });
  });

  it("compares the copies of the reference by way of the candidate beside each", () => {
    const [calm] = screen([duets({ reference: 1, guard: 1, candidate: 1.5 })]);
    expect(calm!.screen.guardAlarms).toBe(false);
    const { ratio } = calm!.screen.guard!;
    expect(ratio.upper / ratio.lower).toBeLessThan(1.1);
    const [alarmed] = screen([duets({ reference: 1, guard: 1.2, candidate: 1 })]);
    expect(alarmed!.screen.guardAlarms).toBe(true);
    expect(alarmed!.screen.guard!.ratio.point).toBeCloseTo(1.2, 1);
  });
});

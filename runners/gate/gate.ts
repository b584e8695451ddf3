import type { GateBlock, GateCounter, GateFigure } from "../../results/gate.js";
import { median } from "../../results/statistics.js";
import { type Arm, blockOrders, reversedOrders } from "./blocks.js";
import { compareCounters } from "./counters.js";
import {
  type Conclusion,
  conclude,
  type FigureBlocks,
  fewestBlocks,
  outcomeOf,
  type Screened,
  screen,
} from "./decide.js";
import { FIGURES } from "./figures.js";
import { type Bench, capacity, measure, type Subject, TrialFailedError } from "./measure.js";
import { disturbances, listen, type Moment } from "./quiet.js";
import type { TimedWorkload, Workload } from "./workloads.js";

export interface GateSetup {
  readonly bench: Bench;
  readonly subjects: readonly Subject[];
  readonly workloads: readonly Workload[];
  readonly seed: number;
  /** When to be done, on the clock of `Date.now`. */
  readonly deadlineMs: number;
  readonly deviceStatPath: string | null;
  /** Workloads, scenarios and engines that the reference has and the candidate lacks: one sentence each. */
  readonly missing: readonly string[];
  readonly tell: (line: string) => void;
}

export interface GateFindings extends Conclusion {
  readonly figures: GateFigure[];
  readonly counters: GateCounter[];
  readonly failures: string[];
  readonly doubts: string[];
}

/** One subject under one timed workload: the trials of a block follow each other closely. */
interface Cell {
  readonly id: string;
  readonly subject: Subject;
  readonly workload: TimedWorkload;
  readonly ratePerSecond: number;
}

/** Of the time left after the counters; the rest confirms. */
const SCREENING_SHARE = 0.6;
/** Beyond 20 blocks the sign-flip test is no longer exact, and a machine so quick gains little. */
const MOST_BLOCKS = 20;
const PILOT_TRIALS = 3;

/**
 * Counts, times, decides. Ends early when nothing is open, and at the deadline at the latest; what could not be decided
 * by then is inconclusive.
 */
export async function runGate(setup: GateSetup): Promise<GateFindings> {
  const counters: GateCounter[] = [];
  let figures: GateFigure[] = [];
  const failures = [...setup.missing];
  const doubts: string[] = [];
  try {
    for (const subject of setup.subjects) {
      for (const workload of setup.workloads) {
        if (workload.kind !== "counted") continue;
        setup.tell(`Counting ${subject.name}/${workload.id} …`);
        counters.push(...(await compareCounters(setup.bench, subject, workload, setup.seed)));
      }
    }
    const timed = await timeFigures(setup);
    figures = timed.figures;
    doubts.push(...timed.doubts);
  } catch (error) {
    if (!(error instanceof TrialFailedError)) throw error;
    failures.push(error.message);
  }
  return { figures, counters, failures, doubts, ...outcomeOf(figures, counters, failures, doubts) };
}

async function timeFigures(setup: GateSetup): Promise<{ figures: GateFigure[]; doubts: string[] }> {
  const cells = await layOutCells(setup);
  if (cells.length === 0) return { figures: [], doubts: [] };
  const gatedCount = cells.flatMap(({ workload }) => Object.values(FIGURES[workload.kind])).filter(isGated).length;
  const least = fewestBlocks(gatedCount);
  const laboratory = new Laboratory(setup);

  const orders = blockOrders(MOST_BLOCKS, setup.seed);
  setup.tell("Block 1, to see how long a block takes …");
  await laboratory.run(cells, orders.slice(0, 1));
  const screeningEndMs = Date.now() + SCREENING_SHARE * (setup.deadlineMs - Date.now());
  const affordable = 1 + Math.floor((screeningEndMs - Date.now()) / laboratory.blockMs(cells));
  const total = 1 + Math.floor((setup.deadlineMs - Date.now()) / laboratory.blockMs(cells));
  if (total < least) {
    const neededMs = (least - 1) * laboratory.blockMs(cells) + (Date.now() - setup.deadlineMs);
    return { figures: [], doubts: [tooLittleTime(gatedCount, least, total, neededMs)] };
  }
  const blockCount = Math.min(MOST_BLOCKS, Math.max(least, affordable));
  for (let block = 1; block < blockCount; block++) {
    setup.tell(`Block ${block + 1} of ${blockCount} …`);
    await laboratory.run(cells, orders.slice(block, block + 1));
  }
  const screened = screen(laboratory.takeFigures(cells));
  const again = chooseAgain(cells, screened, laboratory, setup.deadlineMs);
  if (again.cells.length > 0) {
    setup.tell(`${again.why}: ${again.cells.map(({ id }) => id).join(", ")}, ${again.blockCount} blocks more …`);
    await laboratory.run(again.cells, reversedOrders(orders.slice(0, again.blockCount)));
  }
  const confirmations = new Map(laboratory.takeFigures(again.cells).map(({ id, blocks }) => [id, blocks]));
  return { figures: conclude(screened, confirmations), doubts: disturbances(laboratory.moments) };
}

async function layOutCells({ bench, subjects, workloads, seed, tell }: GateSetup): Promise<Cell[]> {
  const timed = workloads.filter((workload) => workload.kind !== "counted");
  const cells: Cell[] = [];
  for (const subject of subjects) {
    for (const workload of timed) {
      const id = `${subject.name}/${workload.id}`;
      if (workload.kind !== "open") {
        cells.push({ id, subject, workload, ratePerSecond: 0 });
        continue;
      }
      tell(`Measuring the capacity of ${subject.name} …`);
      const capacities: number[] = [];
      for (let trial = 0; trial < PILOT_TRIALS; trial++) {
        capacities.push(await capacity(bench, workload, { subject, arm: "reference", seed: seed + trial }));
      }
      cells.push({ id, subject, workload, ratePerSecond: workload.capacityFraction * median(capacities) });
    }
  }
  return cells;
}

/**
 * What is worth another round in the time left, fresh blocks with candidate and reference exchanged: suspects first and
 * then what is open. Nothing, if the time does not suffice to confirm.
 */
function chooseAgain(
  cells: readonly Cell[],
  screened: readonly Screened[],
  laboratory: Laboratory,
  deadlineMs: number,
) {
  const suspects = screened.filter(({ isSuspect }) => isSuspect);
  const open = screened.filter(({ isOpen }) => isOpen);
  const least = suspects.length === 0 ? 1 : fewestBlocks(suspects.length);
  const holding = (figures: readonly Screened[]) =>
    cells.filter((cell) => figures.some(({ id }) => id.startsWith(`${cell.id}/`)));
  const blocksFor = (chosen: readonly Cell[]) =>
    Math.min(MOST_BLOCKS, Math.floor((deadlineMs - Date.now()) / laboratory.blockMs(chosen)));
  const choices = [
    { cells: holding([...suspects, ...open]), why: suspects.length > 0 ? "To be confirmed" : "Still open" },
    { cells: holding(suspects), why: "To be confirmed" },
  ];
  for (const choice of choices) {
    const blockCount = choice.cells.length === 0 ? 0 : blocksFor(choice.cells);
    if (blockCount >= least) return { ...choice, blockCount };
  }
  return { cells: [], why: "", blockCount: 0 };
}

/** Runs blocks and keeps what they measured. */
class Laboratory {
  readonly moments: Moment[] = [];
  readonly #blocks = new Map<string, GateBlock[]>();
  readonly #durationsMs = new Map<string, number[]>();
  #blockNumber = 0;

  constructor(readonly setup: GateSetup) {}

  async run(cells: readonly Cell[], orders: readonly (readonly Arm[])[]): Promise<void> {
    for (const order of orders) {
      this.#blockNumber++;
      const moment = await listen(this.setup.deviceStatPath);
      if (moment !== null) this.moments.push(moment);
      for (const cell of cells) await this.#runBlock(cell, order);
    }
  }

  /** How long a block of these cells took, at the median. */
  blockMs(cells: readonly Cell[]): number {
    return cells.reduce((sum, { id }) => sum + median(this.#durationsMs.get(id)!), 0);
  }

  /** Hands over the blocks of these cells' figures run since the last time. */
  takeFigures(cells: readonly Cell[]): FigureBlocks[] {
    return cells.flatMap(({ id, workload }) =>
      Object.entries(FIGURES[workload.kind]).map(([name, figure]) => {
        const blocks = this.#blocks.get(`${id}/${name}`)!;
        this.#blocks.delete(`${id}/${name}`);
        return { ...figure, id: `${id}/${name}`, blocks };
      }),
    );
  }

  async #runBlock({ id, subject, workload, ratePerSecond }: Cell, order: readonly Arm[]): Promise<void> {
    const startedMs = Date.now();
    const seed = this.setup.seed + this.#blockNumber;
    const blocks = new Map<string, GateBlock>(
      Object.keys(FIGURES[workload.kind]).map((name) => [
        name,
        { order: order.map((arm) => arm[0]!.toUpperCase()).join(""), reference: [], guard: [], candidate: [] },
      ]),
    );
    for (const arm of order) {
      const figures = await measure(this.setup.bench, workload, { subject, arm, seed }, ratePerSecond);
      for (const [name, block] of blocks) block[arm].push(figures[name]!);
    }
    for (const [name, block] of blocks) {
      const all = this.#blocks.get(`${id}/${name}`) ?? [];
      this.#blocks.set(`${id}/${name}`, [...all, block]);
    }
    this.#durationsMs.set(id, [...(this.#durationsMs.get(id) ?? []), Date.now() - startedMs]);
  }
}

function isGated({ gated }: { gated: boolean }): boolean {
  return gated;
}

function tooLittleTime(gatedCount: number, least: number, total: number, missingMs: number): string {
  const minutes = Math.ceil(missingMs / 60_000);
  return `The budget allows ${Math.max(1, total)} blocks, and ${gatedCount} gated figures need ${least}: nothing was timed; raise --budget by ${minutes} min or more.`;
}

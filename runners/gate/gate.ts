import type { GateBlock, GateCounter, GateFigure } from "../../results/gate.js";
import { median } from "../../results/statistics.js";
import { type Arm, blockOrders, reversedOrders } from "./blocks.js";
import { type Cell, figuresOf, layOutCells } from "./cells.js";
import { compareCounters, type DurabilityClasses } from "./counters.js";
import {
  type Conclusion,
  conclude,
  type FigureBlocks,
  fewestBlocks,
  outcomeOf,
  type Screened,
  screen,
} from "./decide.js";
import { plainValue, type Reading } from "./figures.js";
import { type Bench, type Instruments, type Subject, TrialFailedError } from "./measure.js";
import { disturbances, type Moment } from "./quiet.js";
import type { Workload } from "./workloads.js";

export interface GateSetup {
  readonly bench: Bench;
  readonly subjects: readonly Subject[];
  readonly workloads: readonly Workload[];
  readonly seed: number;
  /** When to be done, on the instruments' clock. */
  readonly deadlineMs: number;
  /** Of a round, however much time there is. */
  readonly mostBlocks: number;
  readonly deviceStatPath: string | null;
  /** Scenarios and engines that the reference has and the candidate lacks: one sentence each. */
  readonly missing: readonly string[];
  readonly tell: (line: string) => void;
  readonly instruments: Instruments;
}

export interface GateFindings extends Conclusion {
  readonly counters: GateCounter[];
  readonly failures: string[];
  readonly doubts: string[];
}

/** Of the time left after the counters; the rest confirms. */
const SCREENING_SHARE = 0.6;
const UNPINNED =
  "Trials could not be pinned to a processor (it takes Linux and taskset), so CPU per message varies more than it need.";
/** More would make a quick gate slow for little: the interval shrinks with the square root. */
export const MOST_BLOCKS = 40;

/**
 * Counts, times, decides. Ends early when nothing is open, and at the deadline at the latest; what could not be decided
 * by then is inconclusive.
 */
export async function runGate(setup: GateSetup): Promise<GateFindings> {
  const counters: GateCounter[] = [];
  let timed: Timed = { figures: [], doubts: [], unfit: [] };
  const failures = [...setup.missing];
  const classDoubts: string[] = [];
  try {
    for (const subject of setup.subjects) {
      for (const workload of setup.workloads) {
        if (workload.kind !== "counted") continue;
        setup.tell(`Counting ${subject.name}/${workload.id} …`);
        const counted = await compareCounters(setup, subject, workload);
        counters.push(...counted.counters);
        const { failure, doubt } = compareClasses(setup.bench, subject, workload.id, counted.classes);
        failures.push(...failure);
        classDoubts.push(...doubt);
      }
    }
    timed = await timeFigures(setup);
  } catch (error) {
    if (!(error instanceof TrialFailedError)) throw error;
    failures.push(error.message);
  }
  const { figures, unfit } = timed;
  const doubts = [...classDoubts, ...timed.doubts];
  return { counters, failures, doubts, ...outcomeOf(figures, counters, failures, unfit) };
}

/**
 * Figures of acknowledgements that mean different things do not compare. Where neither engine nor settings were chosen to
 * differ, one that means less than before is data at risk; else it is told beside the figures. Pure.
 */
function compareClasses(
  { settings }: Bench,
  { name, sources }: Subject,
  workload: string,
  { reference, candidate }: DurabilityClasses,
): { failure: string[]; doubt: string[] } {
  if (reference === null || candidate === null || reference === candidate) return { failure: [], doubt: [] };
  const isChosen =
    sources.reference !== sources.candidate ||
    JSON.stringify(settings.reference) !== JSON.stringify(settings.candidate);
  const sentence = `${name}/${workload}: an acknowledgement means ${candidate} and meant ${reference} in the reference`;
  return candidate < reference && !isChosen
    ? { failure: [`${sentence}: less than before.`], doubt: [] }
    : { failure: [], doubt: [`${sentence}: their timings are not of the same thing.`] };
}

interface Timed {
  readonly figures: GateFigure[];
  /** What disturbed the trials. It hits both sides alike and widens the intervals, so it decides nothing by itself. */
  readonly doubts: string[];
  /** Why nothing could be timed. */
  readonly unfit: string[];
}

async function timeFigures(setup: GateSetup): Promise<Timed> {
  const isTimed = setup.workloads.some(({ kind }) => kind !== "counted");
  if (isTimed && setup.instruments.nowMs() >= setup.deadlineMs) {
    const why = "The budget was used up before anything was timed: nothing was decided by timing; raise --budget.";
    return { figures: [], doubts: [], unfit: [why] };
  }
  const cells = await layOutCells(setup);
  if (cells.length === 0) return { figures: [], doubts: [], unfit: [] };
  const laboratory = new Laboratory(setup);
  const orders = blockOrders(setup.mostBlocks, setup.seed);
  setup.tell("Block 1, to see how long a block takes …");
  await laboratory.run(cells, orders.slice(0, 1));

  const leftMs = setup.deadlineMs - setup.instruments.nowMs();
  const plan = planRound(cells, leftMs, setup.mostBlocks, (chosen) => laboratory.blockMs(chosen));
  if ("why" in plan) return { figures: [], doubts: [], unfit: [plan.why] };
  const { least, blockCount } = plan;
  for (let block = 1; block < blockCount; block++) {
    // Blocks may take longer than the first one promised; the time to confirm what they find is kept.
    const neededMs = laboratory.blockMs(cells) + confirmingMs(cells, (chosen) => laboratory.blockMs(chosen));
    if (block >= least && setup.instruments.nowMs() + neededMs > setup.deadlineMs) break;
    setup.tell(`Block ${block + 1} of ${blockCount} …`);
    await laboratory.run(cells, orders.slice(block, block + 1));
  }
  const screened = screen(laboratory.takeFigures(cells));
  const again = chooseAgain(cells, screened, (chosen) =>
    Math.min(blockCount, Math.floor((setup.deadlineMs - setup.instruments.nowMs()) / laboratory.blockMs(chosen))),
  );
  if (again !== null) {
    setup.tell(`${again.why}: ${again.cells.map(({ id }) => id).join(", ")}, ${again.blockCount} blocks more …`);
    await laboratory.run(again.cells, reversedOrders(orders.slice(0, again.blockCount)));
  }
  const rerun = laboratory.takeFigures(again?.cells ?? []).filter(({ invalid }) => invalid === undefined);
  const confirmations = new Map(rerun.map(({ id, blocks }) => [id, blocks]));
  const isUnpinned = setup.bench.duetProcessors === null && cells.some(({ workload }) => workload.kind === "duet");
  return {
    figures: conclude(screened, confirmations),
    doubts: [...(isUnpinned ? [UNPINNED] : []), ...disturbances(laboratory.moments), ...laboratory.leftOut],
    unfit: [],
  };
}

/**
 * How many blocks to screen with, the one already run included, so that there is time left to confirm what is found in
 * any one cell. Where there is not, the fewest: what they clear is cleared. Or why the time suffices for nothing. Pure.
 */
function planRound(
  cells: readonly Cell[],
  leftMs: number,
  mostBlocks: number,
  blockMs: (chosen: readonly Cell[]) => number,
): { why: string } | { blockCount: number; least: number } {
  const least = fewestBlocks(gatedCount(cells));
  const againMs = confirmingMs(cells, blockMs);
  const leastMs = (least - 1) * blockMs(cells);
  if (leastMs > leftMs) {
    const minutes = Math.ceil((leastMs + againMs - leftMs) / 60_000);
    const figures = gatedCount(cells) === 1 ? "1 gated figure needs" : `${gatedCount(cells)} gated figures need`;
    const why = `${figures} ${least} blocks, a re-run, and about ${minutes} min more than the budget: nothing was decided by timing; raise --budget.`;
    return { why };
  }
  const screeningMs = Math.min(SCREENING_SHARE * leftMs, leftMs - againMs);
  return { least, blockCount: Math.min(mostBlocks, Math.max(least, 1 + Math.floor(screeningMs / blockMs(cells)))) };
}

/** How long it takes to run again what is suspected in any one cell. */
function confirmingMs(cells: readonly Cell[], blockMs: (chosen: readonly Cell[]) => number): number {
  return Math.max(...cells.map((cell) => fewestBlocks(gatedCount([cell])) * blockMs([cell])));
}

function gatedCount(cells: readonly Cell[]): number {
  return cells.flatMap(figuresOf).filter(({ gated }) => gated).length;
}

/**
 * What is worth another round in the time left: suspects and with them what is open; or else suspects, the clearest
 * first, as many as can still be confirmed. Null when there is nothing, or no time for enough blocks.
 */
export function chooseAgain(
  cells: readonly Cell[],
  screened: readonly Screened[],
  affordable: (chosen: readonly Cell[]) => number,
): { cells: Cell[]; why: string; blockCount: number } | null {
  const within = (cell: Cell, { id }: Screened) => id.startsWith(`${cell.id}/`);
  const suspects = screened.filter(({ isSuspect }) => isSuspect).sort((a, b) => clarity(b) - clarity(a));
  const open = screened.filter(({ isOpen }) => isOpen);
  const suspected = [...new Set(suspects.flatMap((figure) => cells.filter((cell) => within(cell, figure))))];
  const others = cells.filter((cell) => !suspected.includes(cell) && open.some((figure) => within(cell, figure)));
  const choices = [
    [...suspected, ...others],
    ...suspected.map((_, left) => suspected.slice(0, suspected.length - left)),
  ];
  for (const chosen of choices) {
    if (chosen.length === 0) continue;
    const count = suspects.filter((figure) => chosen.some((cell) => within(cell, figure))).length;
    const blockCount = affordable(chosen);
    const least = fewestBlocks(Math.max(1, count));
    if (blockCount >= least) return { cells: chosen, why: count > 0 ? "To be confirmed" : "Still open", blockCount };
  }
  return null;
}

/** How far the near end of a suspect's interval lies beyond its margin. */
function clarity({ screen: { candidate }, better, margin }: Screened): number {
  const { lower, upper } = candidate.ratio;
  return (better === "lower" ? Math.log(lower) : -Math.log(upper)) - Math.log1p(margin);
}

interface RunBlock {
  readonly block: GateBlock;
  /** Why one of its trials is invalid. */
  readonly invalid: string | null;
}

/**
 * A block with an invalid trial is left out whole, so that the others stay balanced; it is by how the trial came about, and
 * never by its value. Where too few are left, all are shown and nothing is concluded. Pure.
 */
function usableBlocks(all: readonly RunBlock[], least: number): Pick<FigureBlocks, "blocks" | "invalid"> {
  const valid = all.filter(({ invalid }) => invalid === null);
  if (valid.length === all.length || valid.length >= least) return { blocks: valid.map(({ block }) => block) };
  const because = all.find(({ invalid }) => invalid !== null)!.invalid!.replace(/\.$/, "");
  const invalid = `${all.length - valid.length} of ${all.length} blocks have invalid trials (${because})`;
  return { blocks: all.map(({ block }) => block), invalid };
}

/** Runs blocks and keeps what they measured. */
class Laboratory {
  readonly moments: Moment[] = [];
  /** One sentence for each figure that goes without some of its blocks. */
  readonly leftOut: string[] = [];
  /** By figure id. */
  readonly #blocks = new Map<string, RunBlock[]>();
  /** By cell id. */
  readonly #durationsMs = new Map<string, number[]>();
  #blockNumber = 0;

  constructor(readonly setup: GateSetup) {}

  async run(cells: readonly Cell[], orders: readonly (readonly Arm[])[]): Promise<void> {
    for (const order of orders) {
      this.#blockNumber++;
      const moment = await this.setup.instruments.listen(this.setup.deviceStatPath);
      if (moment !== null) this.moments.push(moment);
      for (const cell of cells) await this.#runBlock(cell, order);
    }
  }

  /** How long a block of these cells takes, by the median of those run. */
  blockMs(cells: readonly Cell[]): number {
    return cells.reduce((sum, { id }) => sum + median(this.#durationsMs.get(id)!), 0);
  }

  /** Hands over the blocks of these cells' figures run since the last time. */
  takeFigures(cells: readonly Cell[]): FigureBlocks[] {
    const least = fewestBlocks(1);
    return cells.flatMap(figuresOf).map(({ name: _, ...figure }) => {
      const all = this.#blocks.get(figure.id)!;
      this.#blocks.delete(figure.id);
      const usable = usableBlocks(all, least);
      const leftOut = all.length - usable.blocks.length;
      if (leftOut > 0) this.leftOut.push(`${figure.id}: ${leftOut} of ${all.length} blocks are left out as invalid.`);
      return { ...figure, ...usable };
    });
  }

  /** The trials of a block of one cell follow each other closely; those of a duet run at the same time. */
  async #runBlock(cell: Cell, order: readonly Arm[]): Promise<void> {
    const { subject, workload, ratePerSecond } = cell;
    const { bench, instruments } = this.setup;
    const startedMs = instruments.nowMs();
    const seed = this.setup.seed + this.#blockNumber;
    const letters = order.map((arm) => arm[0]!.toUpperCase()).join("");
    const isDuet = workload.kind === "duet";
    const trials = order.map((arm) => ({ subject, arm, seed }));
    const readings: Readonly<Record<string, Reading>>[] = [];
    for (const together of isDuet ? [trials] : trials.map((trial) => [trial])) {
      readings.push(...(await instruments.measure(bench, workload, together, ratePerSecond)));
    }
    for (const { id, name } of figuresOf(cell)) {
      const all = readings.map((figures) => figures[name]!);
      const of = (side: Arm) => all.filter((_, at) => order[at] === side).map(plainValue);
      const values = { reference: of("reference"), guard: of("guard"), candidate: of("candidate") };
      const block = { order: letters, isDuet, ...values };
      const invalid = all.find((reading) => typeof reading !== "number");
      this.#blocks.set(id, [...(this.#blocks.get(id) ?? []), { block, invalid: invalid?.invalid ?? null }]);
    }
    this.#durationsMs.set(cell.id, [...(this.#durationsMs.get(cell.id) ?? []), instruments.nowMs() - startedMs]);
  }
}

import { median } from "../../results/statistics.js";
import { FIGURES } from "./figures.js";
import { type Bench, capacity, type Subject } from "./measure.js";
import type { TimedWorkload, Workload } from "./workloads.js";

/** One subject under one timed workload. */
export interface Cell {
  readonly id: string;
  readonly subject: Subject;
  readonly workload: TimedWorkload;
  /** Of an open load; else 0. */
  readonly ratePerSecond: number;
}

const PILOT_TRIALS = 3;

/**
 * Lays out the timed cells; the rate of an open one is its share of the reference's capacity, measured now unless it is
 * given (to compare with trials at that rate). @throws TrialFailedError
 */
export async function layOutCells(
  setup: {
    readonly bench: Bench;
    readonly subjects: readonly Subject[];
    readonly workloads: readonly Workload[];
    readonly seed: number;
    readonly tell: (line: string) => void;
  },
  rates: Readonly<Record<string, number>> = {},
): Promise<Cell[]> {
  const cells: Cell[] = [];
  for (const subject of setup.subjects) {
    for (const workload of setup.workloads) {
      if (workload.kind === "counted") continue;
      const id = `${subject.name}/${workload.id}`;
      const ratePerSecond = workload.kind === "open" ? (rates[id] ?? (await rateOf(workload, subject))) : 0;
      cells.push({ id, subject, workload, ratePerSecond });
    }
  }
  return cells;

  async function rateOf(workload: TimedWorkload & { kind: "open" }, subject: Subject): Promise<number> {
    setup.tell(`Measuring the capacity of ${subject.name} …`);
    const capacities: number[] = [];
    for (let trial = 0; trial < PILOT_TRIALS; trial++) {
      capacities.push(await capacity(setup.bench, workload, { subject, arm: "reference", seed: setup.seed + trial }));
    }
    return workload.capacityFraction * median(capacities);
  }
}

/** The figures of a cell with their ids. */
export function figuresOf({ id, workload }: Cell) {
  return Object.entries(FIGURES[workload.kind]).map(([name, figure]) => ({ ...figure, name, id: `${id}/${name}` }));
}

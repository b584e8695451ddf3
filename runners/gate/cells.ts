import { median } from "../../results/statistics.js";
import { FIGURES, plainValue } from "./figures.js";
import type { GateSetup } from "./gate.js";
import type { Subject } from "./measure.js";
import type { TimedWorkload } from "./workloads.js";

/** One subject under one timed workload. */
export interface Cell {
  readonly id: string;
  readonly subject: Subject;
  readonly workload: TimedWorkload;
  /** Of an open load; else 0. */
  readonly ratePerSecond: number;
}

const PILOT_TRIALS = 3;
const PILOT_MESSAGES = 200_000;

/**
 * Lays out the timed cells; the rate of an open one is its share of the reference's capacity, measured now unless it is
 * given (to compare with trials at that rate). @throws TrialFailedError
 */
export async function layOutCells(setup: GateSetup, rates: Readonly<Record<string, number>> = {}): Promise<Cell[]> {
  const cells: Cell[] = [];
  for (const subject of setup.subjects) {
    for (const workload of setup.workloads) {
      if (workload.kind === "counted") continue;
      const id = `${subject.name}/${workload.id}`;
      const ratePerSecond =
        workload.kind === "open"
          ? (rates[id] ?? workload.capacityFraction * (await capacity(setup, workload, subject)))
          : 0;
      cells.push({ id, subject, workload, ratePerSecond });
    }
  }
  return cells;
}

/** Messages a second that the reference acknowledges in a closed loop. */
async function capacity(setup: GateSetup, open: TimedWorkload, subject: Subject): Promise<number> {
  setup.tell(`Measuring the capacity of ${subject.name} …`);
  const { id, settings, inFlight, warmupMessages } = open;
  const closed = { id, kind: "closed", settings, inFlight, warmupMessages, measuredMessages: PILOT_MESSAGES } as const;
  const capacities: number[] = [];
  for (let trial = 0; trial < PILOT_TRIALS; trial++) {
    const seed = setup.seed + trial;
    const [figures] = await setup.instruments.measure(setup.bench, closed, [{ subject, arm: "reference", seed }], 0);
    capacities.push(plainValue(figures!.acknowledgedThroughput!));
  }
  return median(capacities);
}

/** The figures of a cell with their ids. */
export function figuresOf({ id, workload }: Cell) {
  return Object.entries(FIGURES[workload.kind]).map(([name, figure]) => ({ ...figure, name, id: `${id}/${name}` }));
}

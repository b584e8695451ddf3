/**
 * Where a run with a budget spends its time. Pure: planned cells and finished trials in, the next pair out.
 *
 * A unit is what is compared with each other: the engines of one scenario at one point under one load. Its repetitions
 * are whole blocks, so that every engine has a trial in each. After one block of every unit, time goes to the unit whose
 * interval of the ratio is widest against the effect that it shows.
 */
import { percentileNs } from "../results/histogram.js";
import type { ScenarioRecord, Trial, Unresolved } from "../results/schema.js";
import type { FigureName } from "../results/validity.js";
import { cellName, type PlannedTrial } from "./plan.js";

export interface Unit {
  readonly scenarioId: string;
  readonly point: PlannedTrial["point"];
  readonly load: PlannedTrial["load"];
  readonly figure: ScenarioRecord["figure"];
  /** Whether the scenario's answer compares at this load: throughput in the closed loop, response time in the open. */
  readonly isCompared: boolean;
  /** A trial of each engine; any repetition of it. */
  readonly cells: readonly PlannedTrial[];
}

/** Whether a figure of a trial may be used: nothing is concluded from an invalid one, and no time spent on its account. */
export type IsUsable = (trial: Trial, figure: FigureName) => boolean;

/** A difference or an equality smaller than this share is not asked for: the gate's larger margin of throughput. */
const EFFECT_FLOOR = Math.log(1.05);
/** A half-width of a tenth of the effect is sharp enough: no time is spent on what is sharper. */
const SHARP = 0.1;
const CONFIDENCE = 0.95;
/** Student's t, 97.5 %, by degrees of freedom from 1 on; beyond the table the last is near enough. */
const STUDENT_T = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086,
];
const TAIL_PERCENTILE = 99;
/** So many trials of a cell without a usable figure among them, and it is given up. */
const HOPELESS_TRIALS = 3;

/** The engines' cells of a plan by what is compared; limits are in none. */
export function unitsOf(planned: readonly PlannedTrial[], scenarios: readonly ScenarioRecord[]): Unit[] {
  const units = new Map<string, Unit & { cells: PlannedTrial[] }>();
  for (const trial of planned) {
    if (trial.phase !== "trials" || trial.repetition !== 0) continue;
    const { scenarioId, point, load } = trial;
    const pace = load.model === "closed" ? [] : [load.capacityFraction, load.arrivals];
    const key = JSON.stringify([scenarioId, point, ...pace]);
    const { figure } = scenarios.find(({ id }) => id === scenarioId)!;
    const isCompared = (figure === "responseTime") === (load.model === "open");
    const unit = units.get(key) ?? { scenarioId, point, load, figure, isCompared, cells: [] };
    unit.cells.push(trial);
    units.set(key, unit);
  }
  return [...units.values()];
}

/**
 * The unit that gains most by another block, or null if all are sharp, spent or too long for the time left.
 * @param costMs what a block of a unit takes
 */
export function nextUnit(
  units: readonly Unit[],
  finished: readonly Trial[],
  limits: {
    remainingMs: number;
    maximumRepetitions: number;
    costMs: (unit: Unit) => number;
    isUsable: IsUsable;
  },
): Unit | null {
  let best: { unit: Unit; rank: number[] } | null = null;
  for (const unit of units) {
    const repetitions = repetitionCount(unit, finished);
    if (repetitions >= limits.maximumRepetitions || isHopeless(unit, finished, limits.isUsable)) continue;
    if (limits.costMs(unit) > limits.remainingMs) continue;
    const blur = blurOf(unit, finished, limits.isUsable);
    if (blur <= SHARP) continue;
    // What no answer compares comes last; of equals the one with fewest repetitions.
    const rank = [unit.isCompared ? 1 : 0, blur, -repetitions];
    if (best === null || isAhead(rank, best.rank)) best = { unit, rank };
  }
  return best?.unit ?? null;
}

/**
 * The half-width of the widest interval of a log ratio in the unit, by the effect or the least that matters; 0 where
 * nothing can be compared.
 */
export function blurOf(unit: Unit, finished: readonly Trial[], isUsable: IsUsable): number {
  return Math.max(
    0,
    ...contrastsOf(unit, finished, isUsable).map(({ logs, isRatio }) => {
      const { centre, halfWidth } = studentInterval(logs);
      return halfWidth / Math.max(EFFECT_FLOOR, isRatio ? Math.abs(centre) : 0);
    }),
  );
}

/** Every comparison that shows neither a difference nor, within 5 %, that there is none. */
export function unresolvedOf(units: readonly Unit[], finished: readonly Trial[], isUsable: IsUsable): Unresolved[] {
  return units
    .filter(({ isCompared, cells }) => isCompared && cells.length > 1)
    .flatMap((unit) =>
      contrastsOf(unit, finished, isUsable).flatMap(({ names, logs }): Unresolved[] => {
        const { scenarioId, point, load } = unit;
        const engines: [string, string] = [names[0]!, names[1]!];
        const open = { what: "comparison" as const, scenarioId, point, load, engines, pairCount: logs.length };
        if (logs.length < 2) return [{ ...open, interval: null }];
        const { centre, halfWidth } = studentInterval(logs);
        const [lower, upper] = [centre - halfWidth, centre + halfWidth];
        const isShown = lower > 0 || upper < 0 || (lower > -EFFECT_FLOOR && upper < EFFECT_FLOOR);
        if (isShown) return [];
        return [{ ...open, interval: { lower: Math.exp(lower), upper: Math.exp(upper), confidence: CONFIDENCE } }];
      }),
    );
}

/** How many blocks of it have begun. */
export function repetitionCount({ cells }: Unit, finished: readonly Trial[]): number {
  return Math.max(0, ...cells.flatMap((cell) => trialsOf(cell, finished).map(({ repetition }) => repetition + 1)));
}

/** The cells of the unit that lack a trial of a block that has begun. */
export function missingOf(unit: Unit, finished: readonly Trial[]): { cell: PlannedTrial; repetition: number }[] {
  const repetitions = Array.from({ length: repetitionCount(unit, finished) }, (_, repetition) => repetition);
  return unit.cells.flatMap((cell) => {
    const there = new Set(trialsOf(cell, finished).map(({ repetition }) => repetition));
    return repetitions.filter((repetition) => !there.has(repetition)).map((repetition) => ({ cell, repetition }));
  });
}

function trialsOf(cell: PlannedTrial, finished: readonly Trial[]): Trial[] {
  const name = cellName(cell);
  return finished.filter((trial) => cellName(trial) === name);
}

/** An engine that has only ever failed there, or never had a figure that may be used, will be no clearer for more. */
function isHopeless({ cells, figure }: Unit, finished: readonly Trial[], isUsable: IsUsable): boolean {
  return cells.some((cell) => {
    const trials = trialsOf(cell, finished);
    if (trials.length === 0) return false;
    if (trials.every(({ status }) => status === "failed")) return true;
    return trials.length >= HOPELESS_TRIALS && !trials.some((trial) => isUsable(trial, figure));
  });
}

interface Contrast {
  readonly names: readonly string[];
  /** Of each pair of trials the log ratio; of a single engine the log figures. */
  readonly logs: readonly number[];
  readonly isRatio: boolean;
}

/** Engines whose acknowledgements mean different things are not compared, and have none. */
function contrastsOf({ cells, figure }: Unit, finished: readonly Trial[], isUsable: IsUsable): Contrast[] {
  const all = cells.map((cell) => {
    const values = new Map<number, number>();
    const classes = new Set<string>();
    for (const trial of trialsOf(cell, finished)) {
      const value = isUsable(trial, figure) ? figureOf(trial, figure) : null;
      if (value === null || value <= 0) continue;
      values.set(trial.repetition, Math.log(value));
      classes.add(trial.measured!.durabilityClass);
    }
    return { name: cell.engine, values, classes };
  });
  if (all.length === 1) {
    return [{ names: [all[0]!.name], logs: [...all[0]!.values.values()], isRatio: false }];
  }
  return all.flatMap((first, at) =>
    all
      .slice(at + 1)
      .filter((second) => new Set([...first.classes, ...second.classes]).size <= 1)
      .map((second) => ({
        names: [first.name, second.name],
        logs: [...first.values].flatMap(([repetition, value]) => {
          const other = second.values.get(repetition);
          return other === undefined ? [] : [value - other];
        }),
        isRatio: true,
      })),
  );
}

function figureOf({ measured }: Trial, figure: Unit["figure"]): number | null {
  if (measured === null) return null;
  return figure === "responseTime"
    ? percentileNs(measured.responseTime, TAIL_PERCENTILE)
    : measured[figure].messagesPerSecond;
}

/** Of fewer than two values the half-width is infinite. */
function studentInterval(values: readonly number[]): { centre: number; halfWidth: number } {
  const count = values.length;
  const centre = values.reduce((sum, value) => sum + value, 0) / Math.max(1, count);
  if (count < 2) return { centre, halfWidth: Number.POSITIVE_INFINITY };
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (count - 1);
  const t = STUDENT_T[Math.min(count - 1, STUDENT_T.length) - 1]!;
  return { centre, halfWidth: t * Math.sqrt(variance / count) };
}

function isAhead(rank: readonly number[], other: readonly number[]): boolean {
  const first = rank.findIndex((value, at) => value !== other[at]);
  return first !== -1 && rank[first]! > other[first]!;
}

/** The search for the highest rate that meets an objective, trial by trial. */
import { percentileNs } from "../results/histogram.js";
import type { Objective, Search, Trial, Unresolved } from "../results/schema.js";
import { median } from "../results/statistics.js";
import { circumstancesOf, usableTrials } from "../results/validity.js";
import { type Execution, executeTrial, isFaulty } from "./execute.js";
import { cellName, type PlannedTrial } from "./plan.js";
import { RateSearch } from "./rate-search.js";

/** Open load: a bound far above what is in flight unless the engine falls behind. */
const IN_FLIGHT = 65_536;
/** Samples beyond a percentile without which it says nothing (method rule 27). */
const FEWEST_BEYOND = 10;
/** A step lasts longer than a trial of the profile, for the sake of its samples, by at most this factor. */
const LONGEST_STEP = 10;
/** An invalid trial says nothing of its rate, which is tried once more; invalid again, it counts as missed. */
const MOST_INVALID = 2;
const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9 };

/** "p99<=5ms" → { percentile: 99, latencyNs: 5e6 }; null when it is no such thing. */
export function parseObjective(text: string): Objective | null {
  const [, percentile, amount, unit] =
    /^p(\d{1,2}(?:\.\d{1,3})?)\s*(?:<=|≤|<)\s*(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s)$/.exec(text.trim()) ?? [];
  if (percentile === undefined || amount === undefined || unit === undefined) return null;
  const objective = { percentile: Number(percentile), latencyNs: Number(amount) * UNITS[unit]! };
  return objective.percentile > 0 && objective.latencyNs > 0 ? objective : null;
}

/**
 * Searches for every engine at every point that has a closed-loop capacity, one after the other, and stores each search as
 * it ends; what the store already has is not searched again. A search that is cut short is not stored.
 * @param deadlineMs on the clock of `Date.now`: no step begins that would probably end later
 * @returns whether no search remains to be done
 */
export async function searchRates(
  planned: readonly PlannedTrial[],
  objective: Objective,
  execution: Execution,
  deadlineMs = Number.POSITIVE_INFINITY,
): Promise<{ isWhole: boolean }> {
  const { store, progress, signal } = execution;
  const missed: Unresolved[] = [];
  const cells = searchable(planned);
  for (const [index, cell] of cells.entries()) {
    const capacityPerSecond = capacityOf(cell, store.run.trials);
    if (store.run.searches.some((search) => isOf(search, cell, objective))) continue;
    if (capacityPerSecond === null) {
      progress.note(`${cellName(cell)}: nothing to search, because no closed-loop trial of it has figures.`);
      continue;
    }
    const found = await searchCell(cell, objective, capacityPerSecond, execution, {
      deadlineMs,
      begins: (rate) =>
        progress.begin(
          index,
          cells.length,
          `${cellName(cell)}, ${Math.round(rate)}/s for ${objectiveWords(objective)}`,
        ),
    });
    if (signal.aborted) return { isWhole: false };
    if (found === null) {
      const { scenarioId, engine, point } = cell;
      missed.push({ what: "search", scenarioId, engine, point, objective });
      continue;
    }
    store.addSearch(found);
  }
  store.setUnresolved([...store.run.unresolved, ...missed]);
  return { isWhole: missed.length === 0 };
}

/** One trial of each cell that a search can begin with: baselines run as limits and have no rates of their own. */
export function searchable(planned: readonly PlannedTrial[]): PlannedTrial[] {
  return planned.filter(
    ({ phase, load, repetition }) => phase === "trials" && load.model === "closed" && repetition === 0,
  );
}

/** @returns null when the time was up before its end */
async function searchCell(
  cell: PlannedTrial,
  objective: Objective,
  capacityPerSecond: number,
  execution: Execution,
  { begins, deadlineMs }: { begins: (ratePerSecond: number) => void; deadlineMs: number },
): Promise<Search | null> {
  const { scenarioId, engine, point } = cell;
  const search = new RateSearch(capacityPerSecond);
  const steps: Search["steps"] = [];
  const circumstances = circumstancesOf(execution.store.run);
  let isFault = false;
  let invalidCount = 0;
  for (let rate = search.next(); rate !== null && !isFault && !execution.signal.aborted; rate = search.next()) {
    const last = steps.at(-1)?.trial ?? execution.store.run.trials.find((trial) => cellName(trial) === cellName(cell));
    if (Date.now() + (last?.durationNs ?? 0) / 1e6 > deadlineMs) return null;
    begins(rate);
    const trial = await executeTrial(
      { ...cell, trialId: `${cellName(cell)}/search-${steps.length}`, order: steps.length },
      longEnough(execution, objective, rate),
      {
        model: "open",
        ratePerSecond: rate,
        capacityFraction: rate / capacityPerSecond,
        arrivals: "poisson",
        inFlight: IN_FLIGHT,
        producers: cell.load.producers,
      },
    );
    isFault = isFaulty(trial);
    const latencyNs = latencyOf(trial, objective);
    const isInvalid = trial.status === "ok" && usableTrials([trial], "responseTime", circumstances).length === 0;
    const isMet = !isInvalid && latencyNs !== null && latencyNs <= objective.latencyNs;
    steps.push({ isMet, latencyNs, trial });
    invalidCount = isInvalid ? invalidCount + 1 : 0;
    if (invalidCount > 0 && invalidCount < MOST_INVALID) continue;
    invalidCount = 0;
    search.record(rate, isMet);
  }
  return { scenarioId, engine, point, objective, capacityPerSecond, steps, ...search.result };
}

/** As long as it takes for the percentile to have its samples at this rate, within reason. */
function longEnough(execution: Execution, { percentile }: Objective, ratePerSecond: number): Execution {
  const { profile } = execution;
  const neededMs = (2 * FEWEST_BEYOND * 1_000) / (1 - percentile / 100) / ratePerSecond;
  const measureMs = Math.min(Math.max(profile.measureMs, neededMs), LONGEST_STEP * profile.measureMs);
  return { ...execution, profile: { ...profile, measureMs } };
}

/** Null where there is no such percentile: the trial failed, or has too few samples. */
function latencyOf({ status, measured }: Trial, { percentile }: Objective): number | null {
  if (status === "failed") return null;
  const { responseTime } = measured!;
  if (responseTime.sampleCount * (1 - percentile / 100) < FEWEST_BEYOND) return null;
  return percentileNs(responseTime, percentile);
}

function capacityOf(cell: PlannedTrial, finished: readonly Trial[]): number | null {
  const name = cellName(cell);
  const capacities = finished
    .filter((trial) => cellName(trial) === name)
    .flatMap(({ status, measured }) => (status === "ok" ? measured!.acknowledged.messagesPerSecond : []));
  return capacities.length === 0 || median(capacities) === 0 ? null : median(capacities);
}

function isOf(search: Search, { scenarioId, engine, point }: PlannedTrial, objective: Objective): boolean {
  const what = (one: Pick<Search, "scenarioId" | "engine" | "point" | "objective">) =>
    JSON.stringify([one.scenarioId, one.engine, one.point, one.objective]);
  return what(search) === what({ scenarioId, engine, point, objective });
}

function objectiveWords({ percentile, latencyNs }: Objective): string {
  return `p${percentile} ≤ ${latencyNs / 1e6} ms`;
}

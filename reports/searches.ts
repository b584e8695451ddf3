/** What the searches for the highest rate under an objective came to. */
import type { Objective, Run, Search } from "../results/schema.js";
import { type Circumstances, circumstancesOf, usableTrials } from "../results/validity.js";
import { formatRate, formatShare, formatTime } from "./format.js";
import { classWords, countWords, storedPointWords } from "./words.js";

/** One row of the table of searches: text, and values in their stored units. */
export interface SearchRow {
  readonly scenario: string;
  /** "partitions = 8"; empty if nothing varies. */
  readonly point: string;
  readonly engine: string;
  readonly objective: string;
  /** Null when no rate met the objective. */
  readonly ratePerSecond: number | null;
  readonly shareOfCapacity: number | null;
  /** The objective's percentile at that rate, the worse of the trials that met it. */
  readonly latencyNs: number | null;
  readonly classes: string;
  readonly words: string;
}

/** In the order in which they were made. */
export function searchRows(run: Run): SearchRow[] {
  const circumstances = circumstancesOf(run);
  return run.searches.map((search) => {
    const { scenarioId, engine, point, objective, ratePerSecond, capacityPerSecond } = search;
    const record = run.scenarios.find(({ id }) => id === scenarioId);
    const at = search.steps.filter((step) => step.isMet && rateOf(step.trial) === ratePerSecond);
    const latencies = at.flatMap(({ latencyNs }) => latencyNs ?? []);
    const classes = [...new Set(at.flatMap(({ trial }) => trial.measured?.durabilityClass ?? []))].sort();
    return {
      scenario: record?.title ?? scenarioId,
      point: storedPointWords(record, point),
      engine,
      objective: objectiveWords(objective),
      ratePerSecond,
      shareOfCapacity: ratePerSecond === null ? null : ratePerSecond / capacityPerSecond,
      latencyNs: latencies.length === 0 ? null : Math.max(...latencies),
      classes: classWords(classes),
      words: endWords(search, triedWords(search, circumstances)),
    };
  });
}

/** "Linger, commitlog: 420 k/s with p99 ≤ 5.00 ms (62 % of its closed-loop capacity); met at the highest rate tried, in 9 trials." */
export function searchSentence(row: SearchRow): string {
  const where = [row.scenario, row.point].filter(Boolean).join(", ");
  if (row.ratePerSecond === null) return `${where}, ${row.engine}: no rate with ${row.objective}; ${row.words}.`;
  return `${where}, ${row.engine}: ${formatRate(row.ratePerSecond)} with ${row.objective} (${formatShare(row.shareOfCapacity!)} of its closed-loop capacity); ${row.words}.`;
}

export function objectiveWords({ percentile, latencyNs }: Objective): string {
  return `p${percentile} ≤ ${formatTime(latencyNs)}`;
}

/** "8 trials, 2 of them invalid": these say nothing of their rate. */
function triedWords({ steps }: Search, circumstances: Circumstances): string {
  const measured = steps.flatMap(({ trial }) => (trial.status === "ok" ? [trial] : []));
  const invalid = measured.length - usableTrials(measured, "responseTime", circumstances).length;
  return `${countWords(steps.length, "trial")}${invalid === 0 ? "" : `, ${invalid} of them invalid`}`;
}

function endWords({ end, steps, ratePerSecond }: Search, tried: string): string {
  switch (end) {
    case "found":
      return `met twice, and missed within 5 % above it, in ${tried}`;
    case "ceiling":
      return `met at the highest rate tried, in ${tried}`;
    case "never":
      return `missed at every rate down to 1 % of the capacity, in ${tried}`;
    case "unsettled": {
      const failure = steps.at(-1)?.trial.failures[0];
      const reason = failure === undefined ? "the trials contradict each other" : `the last trial failed: ${failure}`;
      return `${ratePerSecond === null ? "not" : "met twice, but not"} settled in ${tried}: ${reason.replace(/\.$/, "")}`;
    }
  }
}

function rateOf({ configuration }: Search["steps"][number]["trial"]): number | null {
  return configuration.load.model === "open" ? configuration.load.ratePerSecond : null;
}

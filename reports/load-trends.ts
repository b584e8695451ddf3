/** How response times change with the load and its arrivals, within one engine at one point. Pure. */

import type { Load } from "../results/schema.js";
import type { Estimate } from "../results/statistics.js";
import { type Circumstances, type Grade, worse } from "../results/validity.js";
import type { Group } from "./analysis.js";
import { commonPercentile, pairedRatio, pairTrials } from "./pairs.js";

type OpenLoad = Load & { model: "open" };
type PacedGroup = Group & { load: OpenLoad };

export interface LoadTrend {
  /** `load`: the highest fraction of the capacity against the lowest; `arrivals`: Poisson against constant ones. */
  what: "load" | "arrivals";
  from: PacedGroup;
  to: PacedGroup;
  percentile: number;
  /** Response time of `to` ÷ that of `from`, in pairs of trials. */
  ratio: Estimate;
  pairCount: number;
  grade: Grade;
}

/** In the order of the groups: load before arrivals, the median before the tail. */
export function loadTrends(groups: readonly Group[], circumstances: Circumstances): LoadTrend[] {
  const paced = groups.filter(isPaced);
  const cells = [...new Set(paced.map(cellOf))].map((cell) => paced.filter((group) => cellOf(group) === cell));
  return cells.flatMap((cell) => {
    const arrivals = (["constant", "poisson"] as const).map((name) =>
      cell
        .filter(({ load, trials }) => load.arrivals === name && trials.length > 0)
        .sort((a, b) => a.load.capacityFraction - b.load.capacityFraction),
    );
    const byLoad = arrivals.flatMap((same) => contrast("load", same[0], same.at(-1), circumstances));
    const [constant, poisson] = arrivals;
    const shared = constant!.findLast(({ load }) => poisson!.some((other) => isAsHigh(other.load, load)));
    const other = poisson!.find(({ load }) => shared !== undefined && isAsHigh(load, shared.load));
    return [...byLoad, ...contrast("arrivals", shared, other, circumstances)];
  });
}

function contrast(
  what: LoadTrend["what"],
  from: PacedGroup | undefined,
  to: PacedGroup | undefined,
  circumstances: Circumstances,
): LoadTrend[] {
  if (from === undefined || to === undefined || from === to) return [];
  if (from.durabilityClasses.join() !== to.durabilityClasses.join()) return [];
  const grade = worse(from.validity.responseTime.grade, to.validity.responseTime.grade);
  if (grade === "invalid") return [];
  return [...new Set([50, commonPercentile([from, to])])].flatMap((percentile) => {
    const paired = pairTrials(to.trials, from.trials, "responseTime", percentile, circumstances);
    if (paired === null) return [];
    const ratio = pairedRatio(paired.first, paired.second);
    return [{ what, from, to, percentile, ratio, pairCount: paired.first.length, grade }];
  });
}

function isPaced(group: Group): group is PacedGroup {
  return group.load.model === "open";
}

function cellOf({ engine, point }: Group): string {
  return JSON.stringify([engine, point.key]);
}

function isAsHigh(left: OpenLoad, right: OpenLoad): boolean {
  return left.capacityFraction === right.capacityFraction;
}

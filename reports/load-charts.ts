/** Response time against load: median and tail over the fraction of the capacity, for each kind of arrivals. */

import type { Group, ScenarioAnalysis } from "./analysis.js";
import { verticalAxis } from "./chart-axes.js";
import type { ChartSeries, ChartSpec } from "./chart-config.js";
import type { Identity } from "./charts.js";
import { formatShare, percentileName } from "./format.js";
import { ARRIVAL_WORDS, classWords, listWords, pointWords } from "./words.js";

const DRAWN = [99, 50] as const;
const ARRIVALS = ["poisson", "constant"] as const;

/** One chart for each point and kind of arrivals that was run at two loads or more. */
export function loadCharts(scenario: ScenarioAnalysis, slug: string, known: Map<string, Identity>): ChartSpec[] {
  return scenario.points.flatMap((point, i) => {
    const here = scenario.groups.filter((group) => !group.isBaseline && group.point.key === point.key);
    return ARRIVALS.flatMap((arrivals) => {
      const paced = here
        .filter(({ load }) => load.model === "open" && load.arrivals === arrivals)
        .sort((a, b) => fractionOf(a) - fractionOf(b));
      const fractions = [...new Set(paced.map(fractionOf))];
      if (fractions.length < 2) return [];
      const series = [...new Set(paced.map(({ engine }) => engine))].flatMap((engine) => {
        const own = paced.filter((group) => group.engine === engine);
        return DRAWN.map((percentile) => seriesOf(own, engine, percentile, known)).filter(
          ({ points }) => points.length > 0,
        );
      });
      if (series.length === 0) return [];
      const where = pointWords(scenario.axes, point);
      return [
        {
          id: `${slug}-load-${arrivals}-${i + 1}`,
          title: `Response time against load, ${ARRIVAL_WORDS[arrivals]} arrivals${where === "" ? "" : `, ${where}`}`,
          subtitle: `Open loop, from the intended moment of sending; each engine at fractions of its own capacity; all trials merged, bars from the lowest to the highest; acknowledgements ${classWords([...new Set(paced.flatMap(({ durabilityClasses }) => durabilityClasses))].sort())}${missedWords(paced)}`,
          x: {
            label: "share of the capacity",
            scale: "linear",
            min: fractions[0]! - 0.05,
            max: fractions.at(-1)! + 0.05,
            ticks: fractions.map((at) => ({ at, label: formatShare(at) })),
          },
          y: verticalAxis("response time", "nanoseconds", series, [], true),
          series,
          limits: [],
        },
      ];
    });
  });
}

function seriesOf(
  own: readonly Group[],
  engine: string,
  percentile: (typeof DRAWN)[number],
  known: Map<string, Identity>,
): ChartSeries {
  return {
    name: `${engine}, ${percentile === 50 ? "median" : percentileName(percentile)}`,
    ...known.get(engine)!,
    line: percentile === 50 ? "dashed" : "solid",
    isHollow: percentile === 50,
    points: own.flatMap((group) => {
      const figure = group.responseTime?.percentiles.find((one) => one.percentile === percentile);
      if (figure === undefined || figure.valueNs === null) return [];
      const { lowerNs, upperNs } = figure;
      const bars = lowerNs === null || upperNs === null ? {} : { lower: lowerNs, upper: upperNs };
      return [{ x: fractionOf(group), y: figure.valueNs, ...bars }];
    }),
  };
}

/** A load that was never met has no point: that is told where it would be looked for. */
function missedWords(paced: readonly Group[]): string {
  const missed = paced.filter(({ trials, missedCount }) => trials.length === 0 && missedCount > 0);
  if (missed.length === 0) return "";
  const cells = missed.map((group) => `${group.engine} at ${formatShare(fractionOf(group))}`);
  return `; FAILED, not drawn: ${listWords(cells)}`;
}

function fractionOf({ load }: Group): number {
  return load.model === "open" ? load.capacityFraction : 0;
}

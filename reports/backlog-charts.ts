/** How trials fell behind whose rate was not met: messages due and not yet sent, over time. */

import type { Trial } from "../results/schema.js";
import type { ScenarioAnalysis } from "./analysis.js";
import { verticalAxis } from "./chart-axes.js";
import type { ChartSeries, ChartSpec } from "./chart-config.js";
import type { Identity } from "./charts.js";
import { formatShare } from "./format.js";
import { classWords, pointWords } from "./words.js";

const LINES = ["solid", "dashed", "dotted"] as const;
/** More trials than these make no legible chart. */
const MOST_TRIALS = 9;

/** For each point where trials missed their rate one chart; none for runs that did not keep the course of a backlog. */
export function backlogCharts(scenario: ScenarioAnalysis, slug: string, known: Map<string, Identity>): ChartSpec[] {
  const { record, points, axes, failedTrials } = scenario;
  return points.flatMap((point, i) => {
    const missed = failedTrials.filter(
      (trial) =>
        record.engines.includes(trial.engine) &&
        axes.every(({ path }, at) => (trial.point[path] ?? "") === point.values[at]) &&
        trial.measured !== null &&
        pointsOf(trial).length > 0,
    );
    if (missed.length === 0) return [];
    const shown = missed.slice(0, MOST_TRIALS);
    const series = shown.map((trial) => seriesOf(trial, shown, known));
    const where = pointWords(axes, point);
    const left = missed.length - shown.length;
    return [
      {
        id: `${slug}-backlog-${i + 1}`,
        title: `FAILED: rates that were not met, the backlog over time${where === "" ? "" : `, ${where}`}`,
        subtitle: `Open loop; messages that were due and not yet sent; dotted from the end of the measured interval on, when no more come due and the rest is sent for at most 2\u00a0s; acknowledgements ${classWords([...new Set(shown.map(({ measured }) => measured!.durabilityClass))].sort())}${left === 0 ? "" : `; ${left} more trials are not drawn`}`,
        x: secondsAxis(series),
        y: verticalAxis("messages waiting to be sent", "messages", series, [], false),
        series,
        limits: [],
      },
    ];
  });
}

function seriesOf(trial: Trial, shown: readonly Trial[], known: Map<string, Identity>): ChartSeries {
  const { engine, repetition, configuration, measured } = trial;
  const { load } = configuration;
  const ofEngine = shown.filter((other) => other.engine === engine);
  const points = pointsOf(trial);
  const fraction = load.model === "open" ? `, at ${formatShare(load.capacityFraction)} of capacity` : "";
  return {
    name: `${engine}${fraction}, repetition ${repetition}`,
    colour: known.get(engine)!.colour,
    line: LINES[ofEngine.indexOf(trial) % LINES.length]!,
    marker: "none",
    isHollow: false,
    points,
    uncertainAfter: points[0]!.x + measured!.acknowledged.durationNs / 1e9,
  };
}

/** From the beginning of the measured interval, when nothing was late. */
function pointsOf({ measured }: Trial): ChartSeries["points"] {
  const known = measured!.samples.filter(({ backlogMessages }) => backlogMessages !== undefined);
  const [first] = known;
  if (first === undefined) return [];
  const { atNs, durationNs } = first;
  const startNs = Math.max(measured!.warmupNs, atNs - durationNs);
  const samples = known.map((sample) => ({ x: sample.atNs / 1e9, y: sample.backlogMessages! }));
  return startNs < atNs ? [{ x: startNs / 1e9, y: 0 }, ...samples] : samples;
}

function secondsAxis(series: readonly ChartSeries[]): ChartSpec["x"] {
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  return { label: "seconds since the load began", scale: "linear", min: Math.min(...xs), max: Math.max(...xs) };
}

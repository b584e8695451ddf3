/**
 * Which charts a scenario gets, as data (see `chart-config.ts` for how they are drawn).
 *
 * Throughput over the axis, acknowledged and durable as a pair; response time over the axis; percentile curves at the
 * ends of the axis; single trials over time (`time-charts.ts`). Baselines are grey, an engine keeps its colour and marker in
 * every chart of the run.
 */

import type { ProbeResult } from "../results/schema.js";
import type { Axis, DeviceLimits, Facet, Group, Point, RunAnalysis, ScenarioAnalysis } from "./analysis.js";
import { backlogCharts } from "./backlog-charts.js";
import { verticalAxis } from "./chart-axes.js";
import type { ChartSeries, ChartSpec, SeriesPoint } from "./chart-config.js";
import { formatShare, percentileName } from "./format.js";
import { PERCENTILES } from "./histograms.js";
import { loadCharts } from "./load-charts.js";
import { courseCharts, timeCharts } from "./time-charts.js";
import {
  ARRIVAL_WORDS,
  axisName,
  axisValueWords,
  classWords,
  facetWords,
  hasInterval,
  listWords,
  loadWords,
  pointWords,
  valueWords,
} from "./words.js";

export interface ScenarioCharts {
  /** Shown first, and drawn as PNG. */
  main: ChartSpec[];
  /** Behind a fold in the page. */
  more: ChartSpec[];
}

/** Identity of engines across the charts of a run. */
export interface Identity {
  colour: number;
  marker: ChartSeries["marker"];
}

const MARKERS = ["circle", "rect", "triangle", "rectRot"] as const;
const OPEN_LOOP_LINES = ["solid", "dashed", "dotted"] as const;
/** Of more facets than this only those at the ends of their numeric axes are shown first, and no more than this. */
const MAIN_FACETS = 8;
/** Of more points with rates that were not met the others are behind the fold. */
const MAIN_BACKLOGS = 2;
/** Beyond this spread a linear axis would press the smaller figures flat. */
const LOGARITHMIC_FROM_RATIO = 12;
/** Times the fastest engine: a baseline above that is named and not drawn. */
const HIGHEST_BASELINE = 2;
const FIGURE_PAIR = ["acknowledged", "durable"] as const;

export function identities(analysis: RunAnalysis): Map<string, Identity> {
  const entries: [string, Identity][] = analysis.engines.map((engine, i) => [
    engine,
    { colour: i, marker: MARKERS[i % MARKERS.length]! },
  ]);
  for (const [i, engine] of analysis.baselines.entries()) {
    entries.push([engine, { colour: -1 - i, marker: MARKERS[(i + 2) % MARKERS.length]! }]);
  }
  return new Map(entries);
}

/** @param slug safe in element ids and file names, unique in the run */
export function chartsOf(
  scenario: ScenarioAnalysis,
  slug: string,
  known: Map<string, Identity>,
  device: DeviceLimits,
): ScenarioCharts {
  const { facets, xAxis, groups, record } = scenario;
  const isLatency = record.figure === "responseTime";
  const shown = mainFacets(facets);
  const throughput = chartsByFacet(facets, (facet, i) =>
    throughputChart(scenario, facet, `${slug}-throughput-${i + 1}`, known, device),
  );
  const overAxis = chartsByFacet(xAxis === null ? [] : facets, (facet, i) =>
    latencyChart(scenario, facet, `${slug}-latency-${i + 1}`, known),
  );
  const [endCurves, innerCurves] = curveCharts(scenario, slug, known);
  const backlog = backlogCharts(scenario, slug, known);
  const byLoad = loadCharts(scenario, slug, known);
  // Without an axis the load is what varies.
  const isLoadMain = isLatency && xAxis === null;
  const [first, second] = isLatency ? [overAxis, throughput] : [throughput, overAxis];
  const main = first.filter(({ facet }) => shown.includes(facet));
  // Of the other figure the first facet gives an idea.
  if (!isLatency) main.push(...second.slice(0, 1));
  const rest = [...first, ...second].filter((chart) => !main.includes(chart));
  // Closed-loop curves do not answer a question of throughput.
  const areCurvesMain = isLatency || xAxis === null || groups.some((group) => group.load.model === "open");
  return {
    main: [
      ...(isLoadMain ? byLoad : []),
      ...main.map(({ chart }) => chart),
      ...(areCurvesMain ? endCurves : []),
      ...backlog.slice(0, MAIN_BACKLOGS),
    ],
    more: [
      ...rest.map(({ chart }) => chart),
      ...(areCurvesMain ? [] : endCurves),
      ...innerCurves,
      ...backlog.slice(MAIN_BACKLOGS),
      ...(isLoadMain ? [] : byLoad),
      ...timeCharts(scenario, slug, known),
      ...courseCharts(scenario, slug, known),
    ],
  };
}

interface FacetChart {
  facet: Facet;
  chart: ChartSpec;
}

function chartsByFacet(
  facets: readonly Facet[],
  make: (facet: Facet, index: number) => ChartSpec | null,
): FacetChart[] {
  return facets.flatMap((facet, i) => {
    const chart = make(facet, i);
    return chart === null ? [] : [{ facet, chart }];
  });
}

function mainFacets(facets: readonly Facet[]): Facet[] {
  if (facets.length <= MAIN_FACETS) return [...facets];
  const isAtEnds = ({ values }: Facet) =>
    values.every(({ axis, value }) => !axis.isNumeric || value === axis.values[0] || value === axis.values.at(-1));
  return facets.filter(isAtEnds).slice(0, MAIN_FACETS);
}

function throughputChart(
  scenario: ScenarioAnalysis,
  facet: Facet,
  id: string,
  known: Map<string, Identity>,
  device: DeviceLimits,
): ChartSpec | null {
  const groups = groupsOf(scenario, facet).filter((group) => group.loadKey === "closed");
  const engineRates = groups.filter((group) => !group.isBaseline).flatMap(ratesOf);
  if (engineRates.length === 0) return null;
  const isLogarithmic = areFarApart(engineRates);
  // A baseline far above the engines would press them flat on a linear axis.
  const ceiling = isLogarithmic ? Number.POSITIVE_INFINITY : Math.max(...engineRates) * HIGHEST_BASELINE;
  const isTooHigh = (group: Group) => group.isBaseline && Math.max(0, ...ratesOf(group)) > ceiling;
  const hidden = namesIn(groups.filter(isTooHigh));
  const shown = groups.filter((group) => !hidden.includes(group.engine));
  // A baseline that does not notice the axis was measured at one point: a limit to all.
  const isLimit = (name: string) =>
    facet.points.length > 1 &&
    shown.some((group) => group.isBaseline && group.engine === name) &&
    shown.filter((group) => group.engine === name).length === 1;
  const limits = shown.filter((group) => isLimit(group.engine)).flatMap((group) => limitsOf(scenario, group));
  const ofDevice = scenario.xAxis === null ? deviceLimits(groups, device) : [];
  limits.push(...ofDevice.filter(({ y }) => y <= ceiling));

  const drawn = shown.filter((group) => !isLimit(group.engine));
  const names = namesIn(drawn);
  const place = placement(scenario, facet, names, 2);
  const series = names.flatMap((name, n) => {
    const own = drawn.filter((group) => group.engine === name);
    const figures = own.some((group) => group.durable !== null) ? FIGURE_PAIR : FIGURE_PAIR.slice(0, 1);
    return figures.map((figure, k): ChartSeries => {
      return {
        name: `${name}, ${figure}`,
        ...known.get(name)!,
        line: place.isOrdered ? (figure === "acknowledged" ? "solid" : "dashed") : "none",
        isHollow: figure === "durable",
        points: own.flatMap((group) => pointsOf(place.xOf(group.point, n, k), group[figure])),
      };
    });
  });
  const above = [...hidden, ...ofDevice.filter(({ y }) => y > ceiling).map(({ label }) => label)];
  const note = above.length === 0 ? "" : `; far above: ${listWords(above)}`;
  return {
    id,
    title: titleOf(scenario, "Throughput", facet),
    subtitle: `Messages a second, closed loop; ${spreadWords(groups, "medians with intervals")}; ${classesOf(groups.filter((group) => !group.isBaseline))}${note}`,
    x: place.x,
    y: verticalAxis("messages a second", "messagesPerSecond", series, limits, isLogarithmic),
    series,
    limits,
  };
}

function ratesOf(group: Group): number[] {
  return [group.acknowledged, group.durable].flatMap((figure) => (figure === null ? [] : [figure.point]));
}

function limitsOf(scenario: ScenarioAnalysis, group: Group): ChartSpec["limits"] {
  const where =
    scenario.xAxis === null
      ? ""
      : ` (at ${valueWords(scenario.axes[scenario.xAxis]!, group.point.values[scenario.xAxis]!)})`;
  return FIGURE_PAIR.flatMap((figure) => {
    const estimate = group[figure];
    return estimate === null ? [] : [{ label: `${group.engine}, ${figure}${where}`, y: estimate.point }];
  });
}

/** What the probe wrote a second, in messages of the scenario's one size. */
function deviceLimits(groups: readonly Group[], device: DeviceLimits): ChartSpec["limits"] {
  const sizes = new Set(groups.flatMap((group) => group.trials.map((trial) => trial.configuration.messages.sizeBytes)));
  if (sizes.size !== 1) return [];
  const [sizeBytes] = sizes as Set<number>;
  const limit = (label: string, probe: ProbeResult | null) =>
    probe === null ? [] : [{ label, y: probe.bytesPerSecond / sizeBytes! }];
  return [
    ...limit("device (buffered write)", device.bufferedWrite),
    ...limit("device (direct write)", device.directWrite),
  ];
}

function latencyChart(
  scenario: ScenarioAnalysis,
  facet: Facet,
  id: string,
  known: Map<string, Identity>,
): ChartSpec | null {
  const all = groupsOf(scenario, facet).filter((group) => !group.isBaseline && group.responseTime !== null);
  const open = all.filter((group) => group.load.model === "open");
  const groups = open.length > 0 ? open : all;
  if (groups.length === 0) return null;
  const percentile = commonPercentile(groups);
  const loadKeys = [...new Set(groups.map((group) => group.loadKey))].sort().toReversed();
  const names = namesIn(groups);
  const place = placement(scenario, facet, names, loadKeys.length);
  const series = names.flatMap((name, n) =>
    loadKeys.map((loadKey, k): ChartSeries => {
      const own = groups.filter((group) => group.engine === name && group.loadKey === loadKey);
      const points = own.flatMap((group) => {
        const figure = group.responseTime!.percentiles.find((one) => one.percentile === percentile)!;
        if (figure.valueNs === null) return [];
        const x = place.xOf(group.point, n, k);
        return [
          {
            x,
            y: figure.valueNs,
            ...(figure.lowerNs === null || figure.upperNs === null
              ? {}
              : { lower: figure.lowerNs, upper: figure.upperNs }),
          },
        ];
      });
      return {
        name: `${name}${loadSuffix(own[0])}`,
        ...known.get(name)!,
        line: place.isOrdered ? OPEN_LOOP_LINES[k % OPEN_LOOP_LINES.length]! : "none",
        isHollow: k > 0,
        points,
      };
    }),
  );
  if (series.every(({ points }) => points.length === 0)) return null;
  return {
    id,
    title: titleOf(scenario, `Response time, ${percentileName(percentile)}`, facet),
    subtitle: `${loopSubtitle(groups)}; ${spreadWords(groups, "all trials merged, bars from the lowest to the highest")}; ${classesOf(groups)}`,
    x: place.x,
    y: verticalAxis("response time", "nanoseconds", series, [], true),
    series,
    limits: [],
  };
}

/** Curves at the two ends of the first facet, and those of all other points. */
function curveCharts(
  scenario: ScenarioAnalysis,
  slug: string,
  known: Map<string, Identity>,
): [ChartSpec[], ChartSpec[]] {
  const charts = scenario.points.map((point, i) => ({
    point,
    chart: curveChart(scenario, point, `${slug}-percentiles-${i + 1}`, known),
  }));
  const first = scenario.facets[0]?.points ?? [];
  const ends = new Set([first[0]?.key, first.at(-1)?.key]);
  const pick = (isEnd: boolean) =>
    charts.flatMap(({ point, chart }) => (chart !== null && ends.has(point.key) === isEnd ? [chart] : []));
  return [pick(true), pick(false)];
}

function curveChart(
  scenario: ScenarioAnalysis,
  point: Point,
  id: string,
  known: Map<string, Identity>,
): ChartSpec | null {
  const here = scenario.groups.filter((group) => group.point.key === point.key && !group.isBaseline);
  const open = here.filter((group) => group.load.model === "open" && group.responseTime !== null);
  const all = open.length > 0 ? open : here.filter((group) => group.responseTime !== null);
  const loadKeys = [...new Set(all.map((group) => group.loadKey))].sort().toReversed().slice(0, OPEN_LOOP_LINES.length);
  // Of many loads the highest, whose lines can be told apart.
  const groups = all.filter((group) => loadKeys.includes(group.loadKey));
  const series = groups.map((group): ChartSeries => {
    const summary = group.responseTime!;
    return {
      name: `${group.engine}${loadSuffix(group)}`,
      colour: known.get(group.engine)!.colour,
      line: OPEN_LOOP_LINES[loadKeys.indexOf(group.loadKey)]!,
      marker: "none",
      isHollow: false,
      points: summary.curve.map(({ nines, valueNs }) => ({ x: nines, y: valueNs })),
      uncertainAfter: summary.publishedUpToNines,
    };
  });
  const last = Math.max(...series.flatMap(({ points }) => points.map(({ x }) => x)));
  if (!Number.isFinite(last)) return null;
  const where = pointWords(scenario.axes, point);
  return {
    id,
    title: `Response time by percentile${where === "" ? "" : `, ${where}`}`,
    subtitle: `${loopSubtitle(groups)}; all trials merged; finely dotted where fewer than 100 samples lie beyond; ${classesOf(groups)}`,
    x: {
      label: "share of messages that were faster",
      scale: "linear",
      min: 0,
      max: Math.max(1, last),
      ticks: PERCENTILE_TICKS.filter(({ at }) => at <= last),
    },
    y: verticalAxis("response time", "nanoseconds", series, [], true),
    series,
    limits: [],
  };
}

const PERCENTILE_TICKS = [
  { at: Math.log10(2), label: "50 %" },
  { at: 1, label: "90 %" },
  { at: 2, label: "99 %" },
  { at: 3, label: "99.9 %" },
  { at: 4, label: "99.99 %" },
  { at: 5, label: "99.999 %" },
  { at: 6, label: "99.9999 %" },
];

function groupsOf(scenario: ScenarioAnalysis, facet: Facet): Group[] {
  const keys = new Set(facet.points.map((point) => point.key));
  return scenario.groups.filter((group) => keys.has(group.point.key));
}

function namesIn(groups: readonly Group[]): string[] {
  return [...new Set(groups.map((group) => group.engine))];
}

function titleOf(scenario: ScenarioAnalysis, what: string, facet: Facet): string {
  const place = facetWords(facet.values);
  const axis = scenario.xAxis === null ? "" : ` by ${axisName(scenario.axes[scenario.xAxis]!)}`;
  return `${what}${axis}${place === "" ? "" : `, ${place}`}`;
}

function pointsOf(x: number, estimate: Group["acknowledged"]): SeriesPoint[] {
  if (estimate === null) return [];
  if (!hasInterval(estimate)) return [{ x, y: estimate.point }];
  return [{ x, y: estimate.point, lower: estimate.lower, upper: estimate.upper }];
}

function loadSuffix(group: Group | undefined): string {
  if (group === undefined || group.load.model === "closed") return "";
  const arrivals = group.load.arrivals === "poisson" ? "" : ", constant";
  return `, at ${formatShare(group.load.capacityFraction)} of capacity${arrivals}`;
}

function loopSubtitle(groups: readonly Group[]): string {
  const first = groups[0]!.load;
  if (first.model === "open") {
    const isOne = groups.every(({ load }) => load.model === "open" && load.arrivals === first.arrivals);
    const arrivals = isOne ? `${ARRIVAL_WORDS[first.arrivals]} arrivals` : "Poisson arrivals if not said otherwise";
    return `Open loop, ${arrivals}, from the intended moment of sending`;
  }
  const loads = new Set(groups.map((group) => loadWords(group.load)));
  const loop = loads.size === 1 ? sentenceStart(loadWords(first)) : "Closed loop";
  return `${loop}: latency of a load that waits, not of one that arrives`;
}

function sentenceStart(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}

function spreadWords(groups: readonly Group[], words: string): string {
  return groups.every((group) => group.trials.length < 2) ? "single trials" : words;
}

function classesOf(groups: readonly Group[]): string {
  return `acknowledgements ${classWords([...new Set(groups.flatMap((group) => group.durabilityClasses))].sort())}`;
}

/** p99 unless some group has too few samples for it. */
function commonPercentile(groups: readonly Group[]): number {
  const candidates = PERCENTILES.filter((percentile) => percentile <= 99).toReversed();
  const isKnown = (group: Group, percentile: number) =>
    group.responseTime!.percentiles.some((one) => one.percentile === percentile && one.valueNs !== null);
  return candidates.find((percentile) => groups.every((group) => isKnown(group, percentile))) ?? 50;
}

interface Placement {
  x: ChartSpec["x"];
  /** Of the n-th name's k-th figure. */
  xOf: (point: Point, n: number, k: number) => number;
  /** Values follow each other, so that a line between them means something. */
  isOrdered: boolean;
}

/** Positive numbers far apart lie on a logarithmic axis, other numbers and words at equal steps; with no axis the engines do. */
function placement(scenario: ScenarioAnalysis, facet: Facet, names: readonly string[], figureCount: number): Placement {
  const { xAxis } = scenario;
  if (xAxis === null) {
    const ticks = names.map((label, at) => ({ at, label }));
    return {
      x: { label: "", scale: "linear", min: -0.5, max: names.length - 0.5, ticks },
      xOf: (_, n, k) => n + dodge(k, figureCount, 0.3),
      isOrdered: false,
    };
  }
  const axis: Axis = scenario.axes[xAxis]!;
  const values = axis.values.filter((value) => facet.points.some((point) => point.values[xAxis] === value));
  const numbers = values.map(Number);
  if (axis.isNumeric && numbers.every((value) => value > 0) && Math.max(...numbers) / Math.min(...numbers) >= 8) {
    return {
      x: {
        label: axisName(axis),
        scale: "logarithmic",
        min: Math.min(...numbers) / 1.25,
        max: Math.max(...numbers) * 1.25,
        ticks: numbers.map((at) => ({ at, label: axisValueWords(axis, at) })),
      },
      xOf: (point) => Number(point.values[xAxis]),
      isOrdered: true,
    };
  }
  const ticks = values.map((value, at) => ({ at, label: axisValueWords(axis, value) }));
  const x = { label: axisName(axis), scale: "linear" as const, min: -0.5, max: values.length - 0.5, ticks };
  return {
    x,
    xOf: (point, n, k) =>
      values.indexOf(point.values[xAxis]!) +
      (axis.isNumeric ? 0 : dodge(n * figureCount + k, names.length * figureCount, 0.7)),
    isOrdered: axis.isNumeric,
  };
}

/** Marks that share a tick stand side by side around it. */
function dodge(index: number, count: number, width: number): number {
  return count < 2 ? 0 : (index / (count - 1) - 0.5) * width;
}

function areFarApart(values: readonly number[]): boolean {
  const positive = values.filter((value) => value > 0);
  return positive.length > 0 && Math.max(...positive) / Math.min(...positive) > LOGARITHMIC_FROM_RATIO;
}

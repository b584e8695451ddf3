/**
 * Single trials over time, each that of median throughput: the engines side by side at the last point, and for each
 * engine, point and load by itself what it did and what the machine did meanwhile.
 */

import { percentileNs } from "../results/histogram.js";
import type { Sample, ThreadTimes } from "../results/schema.js";
import type { Group, ScenarioAnalysis } from "./analysis.js";
import { findGroup } from "./analysis.js";
import { niceStep, verticalAxis } from "./chart-axes.js";
import type { ChartAxis, ChartSeries, ChartSpec, SeriesPoint, Unit } from "./chart-config.js";
import type { Identity } from "./charts.js";
import { formatTime, percentileName } from "./format.js";
import { capitalised, classWords, countWords, loadWords, pointWords } from "./words.js";

/** Fewer samples than this show no course of time. */
const LEAST_SAMPLES = 4;
/** Of more courses than this only those at the ends of the axes are drawn. */
const MOST_COURSES = 24;
/** A percentile is published with that many samples beyond it, here with the doubt that 10 leave (method rule 27). */
const LEAST_BEYOND = 10;

/** At the last point, closed loop, of each engine one trial: messages a second, and what the page cache held. */
export function timeCharts(scenario: ScenarioAnalysis, slug: string, known: Map<string, Identity>): ChartSpec[] {
  const point = scenario.points.at(-1);
  if (point === undefined) return [];
  const chosen = scenario.record.engines.flatMap((engine) => {
    const group = findGroup(scenario.groups, engine, point, "closed");
    const trial = group === undefined ? null : medianTrial(group);
    return trial === null ? [] : [{ engine, measured: trial.measured! }];
  });
  if (chosen.length === 0) return [];
  const where = pointWords(scenario.axes, point);
  const of = (name: string, line: ChartSeries["line"], read: (sample: Sample) => number | null) =>
    chosen.map(({ engine, measured }): ChartSeries => {
      return {
        name: `${engine}${name}`,
        ...lineOf(known.get(engine)!.colour, line),
        points: pointsOf(measured.samples, read),
        uncertainBefore: measured.warmupNs / 1e9,
      };
    });
  const make = (id: string, what: string, label: string, unit: Unit, all: ChartSeries[]): ChartSpec[] => {
    const series = all.filter(({ points }) => points.length > 0);
    if (series.length === 0) return [];
    return [
      {
        id,
        title: `${what}${where === "" ? "" : `, ${where}`}`,
        subtitle: "Closed loop; of each engine the trial of median throughput; dotted during the warm-up",
        x: secondsAxis(series),
        y: verticalAxis(label, unit, series, [], false),
        series,
        limits: [],
      },
    ];
  };
  return [
    ...make(
      `${slug}-time-throughput`,
      "Acknowledged over time",
      "messages a second",
      "messagesPerSecond",
      of("", "solid", rateOf),
    ),
    ...make(`${slug}-time-dirty`, "Page-cache debt over time: of the whole machine", "bytes", "bytes", [
      ...of(", dirty", "solid", ({ dirtyBytes }) => dirtyBytes),
      ...of(", being written back", "dashed", ({ writebackBytes }) => writebackBytes),
    ]),
  ];
}

/** For each engine, point and load one trial in panels; none for runs that did not sample so much. */
export function courseCharts(scenario: ScenarioAnalysis, slug: string, known: Map<string, Identity>): ChartSpec[] {
  const all = scenario.groups.filter(({ isBaseline }) => !isBaseline);
  const isAtEnd = ({ point }: Group) =>
    point.values.every((value, i) => [scenario.axes[i]!.values[0], scenario.axes[i]!.values.at(-1)].includes(value));
  const shown = all.length <= MOST_COURSES ? all : all.filter(isAtEnd).slice(0, MOST_COURSES);
  return shown.flatMap((group, i) => courseChart(scenario, group, `${slug}-course-${i + 1}`, known) ?? []);
}

function courseChart(
  scenario: ScenarioAnalysis,
  group: Group,
  id: string,
  known: Map<string, Identity>,
): ChartSpec | null {
  const trial = medianTrial(group);
  if (trial === null || trial.measured!.samples.every(({ detail }) => detail === null)) return null;
  const { samples, warmupNs, durabilityClass } = trial.measured!;
  const { colour } = known.get(group.engine)!;
  const axes: ChartAxis[] = [];
  const series: ChartSeries[] = [];
  const add = (own: ChartSeries[], axisOf: (own: ChartSeries[]) => ChartAxis) => {
    const drawn = own.filter(({ points }) => points.some(({ y }) => y !== 0));
    if (drawn.length === 0) return;
    const panel = axes.push(axisOf(drawn)) - 2;
    series.push(...drawn.map((one) => (panel < 0 ? one : { ...one, panel })));
  };
  const line = (name: string, read: (sample: Sample) => number | null, style: [number, ChartSeries["line"]]) => {
    const points = pointsOf(samples, read);
    return { name, ...lineOf(...style), points, uncertainBefore: warmupNs / 1e9 };
  };
  const scaled = (label: string, unit: Unit) => (own: ChartSeries[]) => panelAxis(label, unit, own);
  const percentile = latencyPercentile(samples);
  add([line("acknowledged", rateOf, [colour, "solid"])], scaled("messages/s", "messagesPerSecond"));
  add(
    [
      line(`${percentileName(percentile)} of each interval`, (sample) => latencyOf(sample, percentile), [
        colour,
        "solid",
      ]),
    ],
    (own) => verticalAxis(percentileName(percentile), "nanoseconds", own, [], true),
  );
  add(
    [
      line("dirty", ({ dirtyBytes }) => dirtyBytes, [colour, "solid"]),
      line("being written back", ({ writebackBytes }) => writebackBytes, [colour, "dashed"]),
    ],
    scaled("page cache", "bytes"),
  );
  const cpu = (key: keyof ThreadTimes) => (sample: Sample) =>
    sample.detail?.threads == null || sample.durationNs === 0 ? null : sample.detail.threads[key] / sample.durationNs;
  add(
    [
      line("CPU: main thread", cpu("mainNs"), [colour, "solid"]),
      line("thread pool", cpu("poolNs"), [colour, "dashed"]),
      line("V8's helpers", cpu("v8Ns"), [colour, "dotted"]),
      line("other threads", cpu("otherNs"), [-1, "solid"]),
      line("sampler", cpu("samplerNs"), [-2, "dashed"]),
    ],
    scaled("CPU", "share"),
  );
  if (axes.length === 0) return null;
  addEvents(samples, colour, axes, series);
  const where = pointWords(scenario.axes, group.point);
  return {
    id,
    title: `The course of a trial: ${group.engine}${where === "" ? "" : `, ${where}`}`,
    subtitle: `${capitalised(loadWords(group.load))}; the trial of median throughput, of ${countWords(group.trials.length, "trial")}; dotted during the warm-up; acknowledgements ${classWords([durabilityClass])}; dirty and written back: of the whole machine`,
    x: secondsAxis(series),
    y: axes[0]!,
    panels: axes.slice(1),
    series,
    limits: [],
  };
}

/** A mark for each interval in which such events ended, in a row for each kind. */
function addEvents(samples: readonly Sample[], colour: number, axes: ChartAxis[], series: ChartSeries[]): void {
  const kinds = [...new Set(samples.flatMap(({ detail }) => Object.keys(detail?.events ?? {})))] as EventKind[];
  if (kinds.length === 0) return;
  const points = samples.flatMap(({ atNs, detail }): SeriesPoint[] =>
    kinds.flatMap((kind, row) => {
      const event = detail?.events[kind];
      if (event === undefined || event.count === 0) return [];
      const [one, many] = EVENT_NAMES[kind];
      const label = `${countWords(event.count, one, many)}, the longest ${formatTime(event.longestNs)}`;
      return [{ x: atNs / 1e9, y: row, label }];
    }),
  );
  const panel = axes.push({
    label: "events",
    unit: "share",
    scale: "linear",
    min: -0.6,
    max: kinds.length - 0.4,
    ticks: kinds.map((kind, at) => ({ at, label: EVENT_NAMES[kind][1] })),
  });
  series.push({
    name: "events of the engine",
    colour,
    line: "none",
    marker: "rectRot",
    isHollow: false,
    points,
    panel: panel - 2,
  });
}

type EventKind = keyof NonNullable<Sample["detail"]>["events"];

const EVENT_NAMES: Record<EventKind, readonly [string, string]> = {
  sync: ["sync", "syncs"],
  "file-preallocate": ["file reserved", "files reserved"],
  "index-flush": ["index write", "index writes"],
  "segment-roll": ["roll", "rolls"],
  "retention-delete": ["deletion", "deletions"],
};

/** p99 where most intervals have samples enough for it, else the median. */
function latencyPercentile(samples: readonly Sample[]): number {
  const known = samples.flatMap(({ detail }) => detail?.responseTime ?? []);
  const isEnough = known.filter(({ sampleCount }) => sampleCount / 100 >= LEAST_BEYOND).length * 2 >= known.length;
  return isEnough ? 99 : 50;
}

function latencyOf({ detail }: Sample, percentile: number): number | null {
  const histogram = detail?.responseTime ?? null;
  if (histogram === null || histogram.sampleCount * (1 - percentile / 100) < LEAST_BEYOND) return null;
  return percentileNs(histogram, percentile);
}

function rateOf({ durationNs, acknowledgedMessages }: Sample): number | null {
  return durationNs === 0 ? null : acknowledgedMessages / (durationNs / 1e9);
}

function pointsOf(samples: readonly Sample[], read: (sample: Sample) => number | null): SeriesPoint[] {
  return samples.flatMap((sample) => {
    const y = read(sample);
    return y === null ? [] : [{ x: sample.atNs / 1e9, y }];
  });
}

function lineOf(
  colour: number,
  line: ChartSeries["line"],
): Pick<ChartSeries, "colour" | "line" | "marker" | "isHollow"> {
  return { colour, line, marker: "none", isHollow: false };
}

function secondsAxis(series: readonly ChartSeries[]): ChartSpec["x"] {
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  return { label: "seconds since the load began", scale: "linear", min: 0, max: Math.max(...xs) };
}

/** Low panels have room for few ticks; the uppermost keeps clear of the panel above. */
function panelAxis(label: string, unit: Unit, series: readonly ChartSeries[]): ChartAxis {
  const top = Math.max(...series.flatMap(({ points }) => points.map(({ y }) => y)));
  const step = niceStep(top / 3);
  return { label, unit, scale: "linear", min: 0, max: step * (Math.ceil(top / step) + 0.4), step };
}

/** Null where too little was sampled. */
function medianTrial(group: Group): Group["trials"][number] | null {
  const rate = (trial: Group["trials"][number]) => trial.measured!.acknowledged.messagesPerSecond;
  const sorted = [...group.trials].sort((a, b) => rate(a) - rate(b));
  const trial = sorted[Math.floor((sorted.length - 1) / 2)];
  return trial === undefined || trial.measured!.samples.length < LEAST_SAMPLES ? null : trial;
}

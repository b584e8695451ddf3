/**
 * From a chart as data to a Chart.js configuration, the same for the page and for PNG files.
 *
 * Runs in Node and, inlined, in the page: it imports types and `format.ts` only, and gets Chart.js from its caller.
 */

import type { Chart, ChartConfiguration, ChartDataset, LegendItem, Plugin } from "chart.js";
import { formatBytes, formatCount, formatRate, formatShare, formatTime, threeDigits } from "./format.js";

export type Unit = "messagesPerSecond" | "messages" | "nanoseconds" | "bytes" | "share";

export interface SeriesPoint {
  x: number;
  y: number;
  /** Of its interval; absent where it has none. */
  lower?: number;
  upper?: number;
  /** What it stands for, where its y is a place and no figure. */
  label?: string;
}

export interface ChartAxis {
  label: string;
  unit: Unit;
  scale: "linear" | "logarithmic";
  min: number;
  max: number;
  step?: number;
  /** Places with names instead of figures. */
  ticks?: { at: number; label: string }[];
}

export interface ChartSeries {
  name: string;
  /** Index of an engine in the palette; baselines are grey and have negative ones, from -1 down. */
  colour: number;
  line: "solid" | "dashed" | "dotted" | "none";
  marker: "circle" | "rect" | "triangle" | "rectRot" | "none";
  /** A hollow marker: the durable figure beside the acknowledged one. */
  isHollow: boolean;
  points: SeriesPoint[];
  /** Index of its axis in `panels`; absent: `y`. */
  panel?: number;
  /** Left of or right of these x the curve is uncertain and drawn dotted. */
  uncertainBefore?: number;
  uncertainAfter?: number;
}

export interface ChartSpec {
  /** Safe as an element id and as a file name. */
  id: string;
  title: string;
  /** Loop, class and what the marks mean. */
  subtitle: string;
  x: {
    label: string;
    scale: "linear" | "logarithmic";
    min: number;
    max: number;
    ticks?: { at: number; label: string }[];
  };
  y: ChartAxis;
  /** Axes of more panels below the first, all along one x. */
  panels?: ChartAxis[];
  series: ChartSeries[];
  /** Horizontal lines: limits measured in the same run. */
  limits: { label: string; y: number }[];
}

export interface ChartTheme {
  background: string;
  ink: string;
  muted: string;
  grid: string;
  engines: readonly string[];
  baselines: readonly string[];
  fontFamily: string;
}

/** Okabe and Ito's colours, told apart by colour-blind readers; the light ones darkened for contrast on white. */
export const LIGHT_THEME: ChartTheme = {
  background: "#ffffff",
  ink: "#1c2024",
  muted: "#5b636b",
  grid: "#e2e5e8",
  engines: ["#0072b2", "#c64f00", "#007f5c", "#a8487f", "#8a6d00"],
  baselines: ["#5b636b", "#8b939b"],
  fontFamily: "system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif",
};

export const DARK_THEME: ChartTheme = {
  background: "#16191c",
  ink: "#e8eaec",
  muted: "#a3abb3",
  grid: "#30363b",
  engines: ["#56b4e9", "#f08a3c", "#2fbf95", "#e08fbb", "#e3c541"],
  baselines: ["#a3abb3", "#7b838b"],
  fontFamily: LIGHT_THEME.fontFamily,
};

export interface ChartOptions {
  /** PNG files stand alone and carry their title; the page has it as text. */
  withTitle: boolean;
  /** Device pixels per pixel; absent: the browser's. */
  devicePixelRatio?: number;
}

/** What the plugins read back from a dataset. */
interface SeriesDataset extends ChartDataset<"scatter", SeriesPoint[]> {
  data: SeriesPoint[];
}

/** Room for "index writes" beside the axis's name. */
const PANEL_AXIS_PIXELS = 104;

const DASHES = { solid: [], dashed: [7, 4], dotted: [2, 3], none: [] };

export function toChartConfig(
  spec: ChartSpec,
  theme: ChartTheme,
  options: ChartOptions,
): ChartConfiguration<"scatter", SeriesPoint[]> {
  const font = (size: number, weight: "normal" | "bold" = "normal") => ({ family: theme.fontFamily, size, weight });
  const axes = [spec.y, ...(spec.panels ?? [])];
  return {
    type: "scatter",
    data: { datasets: spec.series.map((series) => dataset(series, theme)) },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      ...(options.devicePixelRatio === undefined ? {} : { devicePixelRatio: options.devicePixelRatio }),
      layout: { padding: options.withTitle ? 14 : 2 },
      interaction: { mode: "nearest", intersect: false, axis: "xy" },
      scales: {
        x: {
          type: spec.x.scale,
          min: spec.x.min,
          max: spec.x.max,
          title: { display: true, text: spec.x.label, color: theme.ink, font: font(13) },
          grid: { color: theme.grid },
          border: { color: theme.muted },
          ticks: {
            color: theme.ink,
            font: font(12),
            autoSkip: true,
            maxRotation: 0,
            callback: (value) =>
              spec.x.ticks?.find(({ at }) => at === Number(value))?.label ?? threeDigits(Number(value)),
          },
          afterBuildTicks: (axis) => {
            if (spec.x.ticks !== undefined) axis.ticks = spec.x.ticks.map(({ at }) => ({ value: at }));
          },
        },
        // Chart.js stacks from the bottom: the last of them comes first.
        ...Object.fromEntries(
          axes.map((axis, i) => [axisId(i), verticalScale(axis, axes.length, theme)] as const).reverse(),
        ),
      },
      plugins: {
        title: {
          display: options.withTitle,
          text: spec.title,
          color: theme.ink,
          font: font(17, "bold"),
          align: "start",
          padding: { bottom: 4 },
        },
        subtitle: {
          display: options.withTitle,
          text: spec.subtitle,
          color: theme.muted,
          font: font(13),
          align: "start",
          padding: { bottom: 8 },
        },
        legend: {
          position: "bottom",
          align: "start",
          labels: {
            usePointStyle: true,
            ...(spec.series.some(({ marker }) => marker === "none") ? { pointStyleWidth: 30 } : {}),
            boxHeight: 8,
            padding: 12,
            color: theme.ink,
            font: font(12),
            generateLabels: (chart) => legendItems(chart, spec, theme),
          },
        },
        tooltip: {
          callbacks: {
            title: (items) => {
              const x = items[0]?.parsed.x ?? 0;
              const tick = spec.x.ticks?.find(({ at }) => Math.abs(at - x) < 0.45 && spec.x.scale === "linear");
              return `${spec.x.label}: ${tick?.label ?? spec.x.ticks?.find(({ at }) => at === x)?.label ?? threeDigits(x)}`;
            },
            label: (item) => {
              const { y, lower, upper, label } = item.raw as SeriesPoint;
              if (label !== undefined) return label;
              const formatY = FORMATS[axes[panelOf(spec.series[item.datasetIndex]!)]!.unit];
              const interval =
                lower === undefined || upper === undefined ? "" : ` (${formatY(lower)} – ${formatY(upper)})`;
              return `${item.dataset.label}: ${formatY(y)}${interval}`;
            },
          },
        },
      },
    },
    plugins: [backgroundPlugin(theme), errorBarPlugin(), limitPlugin(spec, theme, font(11))],
  };
}

function panelOf({ panel }: ChartSeries): number {
  return panel === undefined ? 0 : panel + 1;
}

function axisId(index: number): string {
  return index === 0 ? "y" : `y${index}`;
}

/** Of several panels all share the height alike and start at one x. */
function verticalScale(axis: ChartAxis, count: number, theme: ChartTheme) {
  const font = { family: theme.fontFamily, size: 12 };
  const format = FORMATS[axis.unit];
  return {
    type: axis.scale,
    min: axis.min,
    max: axis.max,
    ...(count > 1
      ? {
          position: "left",
          stack: "panels",
          afterFit: (scale: { width: number }) => {
            scale.width = PANEL_AXIS_PIXELS;
          },
        }
      : {}),
    title: { display: true, text: axis.label, color: theme.ink, font: { ...font, size: 13 } },
    grid: { color: theme.grid },
    border: { color: theme.muted },
    ticks: {
      color: theme.ink,
      font,
      callback: (value: string | number) =>
        axis.ticks === undefined
          ? format(Number(value)).replace(TRAILING_ZEROS, "")
          : (axis.ticks.find(({ at }) => at === Number(value))?.label ?? ""),
      ...(axis.step === undefined ? {} : { stepSize: axis.step }),
      includeBounds: false,
    },
    afterBuildTicks: (scale: { ticks: { value: number }[] }) => {
      if (axis.ticks !== undefined) scale.ticks = axis.ticks.map(({ at }) => ({ value: at }));
      else if (axis.scale === "logarithmic") {
        scale.ticks = logarithmicTicks(axis.min, axis.max).map((value) => ({ value }));
      }
    },
  };
}

/** A tick is a round number: "10 ms", not "10.0 ms". */
const TRAILING_ZEROS = /\.0+(?=\D)|(?<=\.\d*[1-9])0+(?=\D)/;

const FORMATS: Record<Unit, (value: number) => string> = {
  messagesPerSecond: (value) => (value === 0 ? "0" : formatRate(value)),
  messages: (value) => (value === 0 ? "0" : formatCount(value)),
  nanoseconds: (value) => (value === 0 ? "0" : formatTime(value)),
  bytes: (value) => (value === 0 ? "0" : formatBytes(value)),
  share: formatShare,
};

function dataset(series: ChartSeries, theme: ChartTheme): SeriesDataset {
  const colour = colourOf(series, theme);
  const isCurve = series.marker === "none";
  const { uncertainBefore = Number.NEGATIVE_INFINITY, uncertainAfter = Number.POSITIVE_INFINITY } = series;
  return {
    label: series.name,
    yAxisID: axisId(panelOf(series)),
    data: series.points,
    showLine: series.line !== "none",
    borderColor: colour,
    borderWidth: series.colour < 0 ? 1.5 : 2.25,
    borderDash: DASHES[series.line],
    backgroundColor: colour,
    pointStyle: series.marker === "none" ? "line" : series.marker,
    pointRadius: isCurve ? 0 : 5,
    pointHoverRadius: isCurve ? 4 : 7,
    pointBorderColor: colour,
    pointBorderWidth: 2,
    pointBackgroundColor: series.isHollow ? theme.background : colour,
    segment: {
      borderDash: (segment) =>
        segment.p1.parsed.x! <= uncertainBefore || segment.p0.parsed.x! >= uncertainAfter ? [1.5, 3] : undefined,
    },
  };
}

/** Chart.js takes a legend's line from the marker, which has no dashes: here it comes from the series. */
function legendItems(chart: Chart, spec: ChartSpec, theme: ChartTheme): LegendItem[] {
  const axes = [spec.y, ...(spec.panels ?? [])];
  const items = spec.series.map(
    (series, index): LegendItem => ({
      text: series.name,
      datasetIndex: index,
      hidden: !chart.isDatasetVisible(index),
      fontColor: theme.ink,
      fillStyle: series.isHollow ? theme.background : colourOf(series, theme),
      strokeStyle: colourOf(series, theme),
      lineWidth: 2,
      lineDash: series.marker === "none" ? DASHES[series.line] : [],
      pointStyle: series.marker === "none" ? "line" : series.marker,
    }),
  );
  // What lies at places with names needs no other.
  return items.filter((_, index) => axes[panelOf(spec.series[index]!)]!.ticks === undefined);
}

function colourOf(series: ChartSeries, theme: ChartTheme): string {
  return series.colour < 0
    ? theme.baselines[(-series.colour - 1) % theme.baselines.length]!
    : theme.engines[series.colour % theme.engines.length]!;
}

/** 1, 2, 5, 10, … within the range; only powers of ten once it spans more than three decades. */
function logarithmicTicks(min: number, max: number): number[] {
  const steps = max / min > 1000 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let decade = 10 ** Math.floor(Math.log10(min)); decade <= max; decade *= 10) {
    for (const step of steps) {
      const tick = decade * step;
      if (tick >= min * 0.999 && tick <= max * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** A canvas is transparent; pictures and hollow markers need the colour behind them. */
function backgroundPlugin(theme: ChartTheme): Plugin<"scatter"> {
  return {
    id: "background",
    beforeDraw: (chart: Chart) => {
      chart.ctx.save();
      chart.ctx.fillStyle = theme.background;
      chart.ctx.fillRect(0, 0, chart.width, chart.height);
      chart.ctx.restore();
    },
  };
}

/** Intervals as whiskers, behind the markers. */
function errorBarPlugin(): Plugin<"scatter"> {
  return {
    id: "errorBars",
    beforeDatasetsDraw: (chart: Chart) => {
      const { ctx, chartArea } = chart;
      const [x, y] = [chart.scales.x!, chart.scales.y!];
      ctx.save();
      ctx.beginPath();
      ctx.rect(chartArea.left, chartArea.top, chartArea.width, chartArea.height);
      ctx.clip();
      ctx.lineWidth = 1.5;
      for (const [index, set] of chart.data.datasets.entries()) {
        if (!chart.isDatasetVisible(index)) continue;
        ctx.strokeStyle = set.borderColor as string;
        for (const point of set.data as SeriesPoint[]) {
          if (point.lower === undefined || point.upper === undefined) continue;
          const at = x.getPixelForValue(point.x);
          const [from, to] = [y.getPixelForValue(Math.max(point.lower, y.min)), y.getPixelForValue(point.upper)];
          ctx.beginPath();
          ctx.moveTo(at, from);
          ctx.lineTo(at, to);
          for (const end of [from, to]) {
            ctx.moveTo(at - 5, end);
            ctx.lineTo(at + 5, end);
          }
          ctx.stroke();
        }
      }
      ctx.restore();
    },
  };
}

/** Limits as labelled lines across the chart. */
function limitPlugin(spec: ChartSpec, theme: ChartTheme, font: { family: string; size: number }): Plugin<"scatter"> {
  return {
    id: "limits",
    beforeDatasetsDraw: (chart: Chart) => {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.strokeStyle = theme.muted;
      ctx.lineWidth = 1;
      ctx.setLineDash([3, 3]);
      for (const limit of spec.limits) {
        const at = chart.scales.y!.getPixelForValue(limit.y);
        ctx.beginPath();
        ctx.moveTo(chartArea.left, at);
        ctx.lineTo(chartArea.right, at);
        ctx.stroke();
      }
      ctx.restore();
    },
    afterDatasetsDraw: (chart: Chart) => {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.font = `${font.size}px ${font.family}`;
      ctx.textAlign = "right";
      ctx.textBaseline = "bottom";
      for (const limit of spec.limits) {
        const [right, bottom] = [chartArea.right - 4, chart.scales.y!.getPixelForValue(limit.y) - 3];
        const { width } = ctx.measureText(limit.label);
        // A label stays readable where a curve runs through it.
        ctx.globalAlpha = 0.8;
        ctx.fillStyle = theme.background;
        ctx.fillRect(right - width - 3, bottom - font.size - 1, width + 6, font.size + 2);
        ctx.globalAlpha = 1;
        ctx.fillStyle = theme.muted;
        ctx.fillText(limit.label, right, bottom);
      }
      ctx.restore();
    },
  };
}

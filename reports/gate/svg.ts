/** Small pictures as SVG text: no script, the colours of the page's style sheet, every name escaped. */
import type { GateBlock, GateFigure } from "../../results/gate.js";

const WIDTH = 720;
const ROW_HEIGHT = 34;
const TOP = 26;
/** A ratio beyond these is drawn at the edge, with its figure in the table. */
const NARROWEST = 1.06;
const WIDEST = 3;

export const SVG_STYLE = `
svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg text.muted { fill: var(--muted); }
svg .axis { stroke: var(--line); }
svg .one { stroke: var(--muted); stroke-dasharray: 3 3; }
svg .margin { fill: var(--line); opacity: 0.5; }
svg .candidate { stroke: var(--link); fill: var(--link); }
svg .guard { stroke: var(--muted); fill: var(--muted); }
svg .block { opacity: 0.35; stroke: none; }
svg .level { stroke: var(--caution); stroke-width: 2; fill: none; }
svg .line { stroke: var(--link); fill: none; opacity: 0.6; }
`;

/** One row for each figure: its margin as a band, the candidate's ratio with interval and blocks, the guard's below. */
export function ratioPlot(figures: readonly GateFigure[]): string {
  const reach = Math.min(WIDEST, Math.max(NARROWEST, ...figures.map(farthest)));
  const left = 250;
  const x = (ratio: number) => {
    const clamped = Math.min(reach, Math.max(1 / reach, ratio));
    return left + ((Math.log(clamped) / Math.log(reach) + 1) / 2) * (WIDTH - left - 20);
  };
  const height = TOP + figures.length * ROW_HEIGHT + 24;
  const ticks = [1 / reach, 1 / Math.sqrt(reach), 1, Math.sqrt(reach), reach];
  const rows = figures.map((figure, row) => {
    const y = TOP + row * ROW_HEIGHT + ROW_HEIGHT / 2;
    const round = figure.confirmation ?? figure.screen;
    const bandStart = x(1 / (1 + figure.margin));
    return [
      `<text x="0" y="${y + 4}">${escapeText(figure.id)}</text>`,
      `<rect class="margin" x="${n(bandStart)}" y="${y - 13}" width="${n(x(1 + figure.margin) - bandStart)}" height="26"/>`,
      ...blockRatios(round.blocks).map((ratio) => dot("candidate block", x(ratio), y - 5, 3)),
      interval("candidate", figure.ratio, x, y - 5),
      ...(round.guard === null ? [] : [interval("guard", round.guard.ratio, x, y + 7)]),
    ].join("");
  });
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Ratio of each figure with its interval; the figures are in the table.">`,
    `<line class="one" x1="${n(x(1))}" x2="${n(x(1))}" y1="${TOP - 6}" y2="${height - 20}"/>`,
    ...ticks.map(
      (tick) =>
        `<text class="muted" text-anchor="middle" x="${n(x(tick))}" y="${height - 6}">${tick.toFixed(2)}</text>`,
    ),
    '<text class="muted" x="0" y="14">candidate ÷ reference (blue), reference against itself (grey), margin (band)</text>',
    ...rows,
    "</svg>",
  ].join("");
}

export interface Series {
  readonly values: readonly number[];
  /** Index of the first value of each new level. */
  readonly changes: readonly number[];
  /** Under the axis at its ends. */
  readonly first: string;
  readonly last: string;
  readonly format: (value: number) => string;
}

/** A line of values over runs, the median of each level on top of it. `levels` has one more entry than there are changes. */
export function levelPlot({ values, changes, first, last, format }: Series, levels: readonly number[]): string {
  const height = 180;
  const left = 80;
  const low = Math.min(...values);
  const high = Math.max(...values);
  const x = (at: number) => left + ((at + 0.5) / values.length) * (WIDTH - left - 10);
  const y = (value: number) => 12 + (1 - (value - low) / (high - low || 1)) * (height - 44);
  const bounds = [0, ...changes, values.length];
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Values over runs with their levels.">`,
    `<text class="muted" text-anchor="end" x="${left - 8}" y="${n(y(high) + 4)}">${escapeText(format(high))}</text>`,
    `<text class="muted" text-anchor="end" x="${left - 8}" y="${n(y(low) + 4)}">${escapeText(format(low))}</text>`,
    `<polyline class="line" points="${values.map((value, at) => `${n(x(at))},${n(y(value))}`).join(" ")}"/>`,
    ...values.map((value, at) => dot("candidate", x(at), y(value), 2.5)),
    ...levels.map((level, at) => {
      const [start, end] = [x(bounds[at]! - 0.5), x(bounds[at + 1]! - 0.5)];
      return `<line class="level" x1="${n(start)}" x2="${n(end)}" y1="${n(y(level))}" y2="${n(y(level))}"/>`;
    }),
    `<text class="muted" x="${left}" y="${height - 6}">${escapeText(first)}</text>`,
    `<text class="muted" text-anchor="end" x="${WIDTH - 10}" y="${height - 6}">${escapeText(last)}</text>`,
    "</svg>",
  ].join("");
}

/** Candidate ÷ reference (both its copies) of each block. */
export function blockRatios(blocks: readonly GateBlock[]): number[] {
  return blocks.map(
    ({ candidate, reference, guard }) => geometricMean(candidate) / geometricMean([...reference, ...guard]),
  );
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function farthest({ ratio, margin }: GateFigure): number {
  return Math.max(ratio.upper, 1 / ratio.lower, 1 + 2 * margin);
}

function interval(style: string, ratio: GateFigure["ratio"], x: (ratio: number) => number, y: number): string {
  const line = `<line class="${style}" stroke-width="2" x1="${n(x(ratio.lower))}" x2="${n(x(ratio.upper))}" y1="${n(y)}" y2="${n(y)}"/>`;
  return line + dot(style, x(ratio.point), y, 4);
}

function dot(style: string, x: number, y: number, radius: number): string {
  return `<circle class="${style}" cx="${n(x)}" cy="${n(y)}" r="${radius}"/>`;
}

function n(value: number): string {
  return value.toFixed(1);
}

function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * Figures as people read them: three significant digits, the unit beside each figure, never wrapped apart.
 *
 * Runs in Node and, inlined, in the page: it may import nothing but types.
 */

const NO_BREAK = "\u00a0";

const DECIMAL_STEPS: readonly (readonly [number, string])[] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
];

const TIME_STEPS: readonly (readonly [number, string])[] = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

/** Three significant digits without an exponent: 0.0412, 4.12, 41.2, 412, 4 120. */
export function threeDigits(value: number): string {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  const magnitude = Math.floor(Math.log10(Math.abs(rounded)));
  if (magnitude >= 3) return groupThousands(rounded);
  return rounded.toFixed(Math.min(12, Math.max(0, 2 - magnitude)));
}

/** A whole number with its thousands apart: 10 000. */
export function groupThousands(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, NO_BREAK);
}

/** Takes the largest step that the rounded value reaches, so that 999 960 reads 1.00 M and not 1 000 k. */
function withStep(value: number, steps: readonly (readonly [number, string])[]): { text: string; unit: string } {
  const rounded = Math.abs(Number(value.toPrecision(3)));
  const [divisor, unit] = steps.find(([size]) => rounded >= size) ?? steps.at(-1)!;
  return { text: threeDigits(value / divisor), unit };
}

/** 812 400 → "812 k". */
export function formatCount(value: number): string {
  const { text, unit } = withStep(value, DECIMAL_STEPS);
  return unit === "" ? text : `${text}${NO_BREAK}${unit}`;
}

/** 812 400 → "812 k/s". */
export function formatRate(messagesPerSecond: number): string {
  const text = formatCount(messagesPerSecond);
  return `${text}/s`;
}

/** Decimal units: 1 MB = 1 000 000 bytes, as disks are sold and probes print. */
export function formatBytes(bytes: number): string {
  const { text, unit } = withStep(bytes, DECIMAL_STEPS);
  return `${text}${NO_BREAK}${unit}B`;
}

export function formatBytesPerSecond(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** Nanoseconds in the unit that suits them: "640 ns", "85.2 µs", "1.23 ms", "2.10 s". */
export function formatTime(nanoseconds: number): string {
  const { text, unit } = withStep(nanoseconds, TIME_STEPS);
  return `${text}${NO_BREAK}${unit}`;
}

/** "1.42×". */
export function formatRatio(ratio: number): string {
  return `${threeDigits(ratio)}×`;
}

/** 0.874 → "87 %", 0.0412 → "4.1 %", 20.9 → "2 090 %". */
export function formatShare(share: number): string {
  const percent = share * 100;
  const text =
    percent >= 9.95 || percent === 0 ? groupThousands(Number(percent.toPrecision(3))) : percent.toPrecision(2);
  return `${text}${NO_BREAK}%`;
}

/** "p99", "p99.9". */
export function percentileName(percentile: number): string {
  return percentile === 50 ? "median" : `p${percentile}`;
}

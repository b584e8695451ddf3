/** Points, loads, classes and intervals in words: one wording for page, Markdown, terminal and charts. */

import type { DurabilityClass, Load, PlannedLoad, ScenarioRecord } from "../results/schema.js";
import type { Estimate } from "../results/statistics.js";
import type { Axis, Group, Point, Scalar } from "./analysis.js";
import { formatCount, formatRate, formatRatio, formatShare, groupThousands, threeDigits } from "./format.js";

/** What an acknowledgement means (method, durability classes). */
export const CLASS_MEANINGS: Record<DurabilityClass, string> = {
  D0: "in user memory: a crash of the process loses it",
  D1: "handed to the kernel: a power loss loses it",
  D2: "fdatasync has returned",
  D3: "fdatasync has returned on a device whose flush is known to work",
};

type NamedAxis = Pick<Axis, "path" | "label">;

/** Sizes on an axis are powers of two and read as such: 16 384 is 16 KiB. */
export function axisValueWords(axis: NamedAxis, value: Scalar): string {
  if (typeof value !== "number") return String(value);
  if (value === -1 && /(Bytes|Ms)$/.test(axis.path)) return "no limit";
  if (axis.path.endsWith("Ms")) return `${value}\u00a0ms`;
  if (axis.path.endsWith("Bytes") && value > 0) {
    if (value % 2 ** 20 === 0) return `${value / 2 ** 20}\u00a0MiB`;
    if (value % 2 ** 10 === 0) return `${value / 2 ** 10}\u00a0KiB`;
    return `${groupThousands(value)}\u00a0B`;
  }
  return Number.isInteger(value) ? groupThousands(value) : String(value);
}

/** The label without a unit that its values carry themselves: "batch size (bytes)" of 16 KiB is "batch size". */
export function axisName(axis: NamedAxis): string {
  return /(Bytes|Ms)$/.test(axis.path) ? axis.label.replace(/\s*\((bytes|ms)\)$/i, "") : axis.label;
}

/** "partitions = 1 000". */
export function valueWords(axis: NamedAxis, value: Scalar): string {
  return `${axisName(axis)}\u00a0=\u00a0${axisValueWords(axis, value)}`;
}

/** "partitions = 1 000, flush = sync"; empty if nothing varies. */
export function pointWords(axes: readonly Axis[], point: Point): string {
  return facetWords(axes.map((axis, i) => ({ axis, value: point.values[i]! })));
}

export function facetWords(values: readonly { axis: Axis; value: Scalar }[]): string {
  return values.map(({ axis, value }) => valueWords(axis, value)).join(", ");
}

/** The same of a stored point; axes that the record does not name have their paths. */
export function storedPointWords(record: ScenarioRecord | undefined, point: Readonly<Record<string, Scalar>>): string {
  return Object.entries(point)
    .map(([path, value]) => valueWords(record?.axes.find((axis) => axis.path === path) ?? { path, label: path }, value))
    .join(", ");
}

export const ARRIVAL_WORDS = { constant: "constant", poisson: "Poisson" } as const;

/** "closed loop, 1 024 in flight" or "open loop, 70 % of capacity, Poisson". */
export function loadWords(load: Load | PlannedLoad): string {
  if (load.model === "closed") return `closed loop, ${groupThousands(load.inFlight)}\u00a0in flight`;
  return `open loop, ${formatShare(load.capacityFraction)} of capacity, ${ARRIVAL_WORDS[load.arrivals]}`;
}

/** The same with the rate that was offered. */
export function loadWordsWithRate(load: Load): string {
  return load.model === "closed" ? loadWords(load) : `${loadWords(load)}, ${formatRate(load.ratePerSecond)} offered`;
}

export function loopWords(load: Load): string {
  return load.model === "closed" ? "closed loop" : "open loop";
}

/** "D1", "D1 and D2", "no class". */
export function classWords(classes: readonly DurabilityClass[]): string {
  return classes.length === 0 ? "no class" : listWords(classes);
}

/** "1.30–1.55"; null if there are too few values for an interval. */
export function intervalWords(estimate: Estimate, format: (value: number) => string): string | null {
  return hasInterval(estimate) ? rangeWords(estimate.lower, estimate.upper, format) : null;
}

/** "858–985 k/s", "992 µs–1.12 ms": the unit once where both ends share it. */
export function rangeWords(lower: number, upper: number, format: (value: number) => string): string {
  const [from, to] = [format(lower), format(upper)];
  const unit = /\u00a0\D+$/.exec(to)?.[0];
  return `${unit !== undefined && from.endsWith(unit) ? from.slice(0, -unit.length) : from}–${to}`;
}

export function hasInterval(estimate: Estimate): boolean {
  return Number.isFinite(estimate.lower) && Number.isFinite(estimate.upper);
}

/** 0.9375 → "94 %". */
export function confidenceWords(confidence: number): string {
  return `${(confidence * 100).toFixed(0)}\u00a0%`;
}

/** "rises to 1.30×": how a figure changes from one place to another. */
export function courseWords(ratio: Estimate): string {
  const isFlat = hasInterval(ratio) && ratio.lower <= 1 && ratio.upper >= 1;
  const course = isFlat ? "cannot be told from level at" : ratio.point < 1 ? "falls to" : "rises to";
  return `${course} ${formatRatio(ratio.point)}`;
}

/** "94 % interval 1.10–1.55, 5 pairs of trials". */
export function pairedWords(ratio: Estimate, pairCount: number): string {
  const interval = intervalWords(ratio, threeDigits);
  if (interval === null) return "single trials, no interval";
  return `${confidenceWords(ratio.confidence)} interval ${interval}, ${countWords(pairCount, "pair")} of trials`;
}

/** "one", "one and two", "one, two and three". */
export function listWords(items: readonly string[]): string {
  if (items.length < 2) return items.join("");
  return `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** "1 trial", "3 trials". */
export function countWords(count: number, singular: string, plural = `${singular}s`): string {
  return `${groupThousands(count)} ${count === 1 ? singular : plural}`;
}

/** 0.123 → "+12 %", −0.04 → "−4.0 %". */
export function changeWords(change: number): string {
  return `${change < 0 ? "−" : "+"}${formatShare(Math.abs(change))}`;
}

/** Where there is no room for the meaning: what an acknowledgement has reached. */
const CLASS_PLACES: Record<DurabilityClass, string> = {
  D0: "in user memory",
  D1: "in the page cache",
  D2: "synced",
  D3: "synced, flush known to work",
};

/** "D1, in the page cache"; beside the figures of a row. */
export function classWithPlace(classes: readonly DurabilityClass[]): string {
  const [only, ...others] = classes;
  return only === undefined || others.length > 0 ? classWords(classes) : `${only}, ${CLASS_PLACES[only]}`;
}

/** What a reader must know before trusting a group's figures; empty if nothing. */
export function cautionWords(group: Group): string[] {
  const cautions: string[] = [];
  if (group.failedCount > 0) cautions.push(`${countWords(group.failedCount, "trial")} failed`);
  if (group.drift !== null) {
    const { acknowledged, durable } = group.drift;
    const changes = [acknowledged, durable].filter((change) => change !== null).map(changeWords);
    cautions.push(`${changes.join(" / ")} from before to after`);
  }
  if (group.isHarnessBound) cautions.push("harness-bound: within 2× of null");
  if (group.unsteadyCount > 0)
    cautions.push(`not steady in ${group.unsteadyCount} of ${countWords(group.trials.length, "trial")}`);
  if (group.durabilityClasses.length > 1) cautions.push(`mixed classes ${classWords(group.durabilityClasses)}`);
  const overflow = group.responseTime?.overflowCount ?? 0;
  if (overflow > 0) cautions.push(`${formatCount(overflow)} response times above 60 s`);
  return cautions;
}

/** Quoted for a shell, so that an argument with a space or a quote comes through whole. */
export function shellWords(command: readonly string[]): string[] {
  return command.map((argument) =>
    /^[\w./:=,@%+-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`,
  );
}

/** The first letter large. */
export function capitalised(text: string): string {
  return text === "" ? text : text[0]!.toUpperCase() + text.slice(1);
}

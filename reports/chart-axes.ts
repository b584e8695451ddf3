/** Vertical axes of charts: from the values to range and steps. */

import type { ChartAxis, ChartSeries, ChartSpec, Unit } from "./chart-config.js";

/** Wide enough for all series, their intervals and the limits; a linear one starts at zero. */
export function verticalAxis(
  label: string,
  unit: Unit,
  series: readonly ChartSeries[],
  limits: ChartSpec["limits"],
  isLogarithmic: boolean,
): ChartAxis {
  const points = series.flatMap((one) => one.points);
  const values = points.flatMap(({ y, lower, upper }) => [y, lower ?? y, upper ?? y]).concat(limits.map(({ y }) => y));
  const positive = values.filter((value) => value > 0);
  const top = positive.length === 0 ? 1 : Math.max(...positive);
  if (isLogarithmic && positive.length > 0) {
    return { label, unit, scale: "logarithmic", min: Math.min(...positive) / 1.3, max: top * 1.3 };
  }
  const step = niceStep(top / 6);
  return { label, unit, scale: "linear", min: 0, max: step * Math.ceil((top * 1.03) / step), step };
}

/** The next 1, 2, 2.5 or 5 times a power of ten. */
export function niceStep(value: number): number {
  const decade = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((candidate) => candidate * decade >= value)! * decade;
}

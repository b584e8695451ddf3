/**
 * The page's own script: draws each chart into its figure, in the colours of the reader's theme, and again for print.
 *
 * It is inlined behind `format.ts` and `chart-config.ts`, whose imports it shares, and finds Chart.js as a global.
 */

import type { ChartConfiguration, Chart as ChartInstance } from "chart.js";
import { type ChartSpec, DARK_THEME, LIGHT_THEME, toChartConfig } from "../chart-config.js";

declare const Chart: new (canvas: HTMLCanvasElement, config: ChartConfiguration) => ChartInstance;

const specs: ChartSpec[] = JSON.parse(document.getElementById("chart-data")!.textContent!);
const specsById = new Map(specs.map((spec) => [spec.id, spec]));
const drawn = new Map<HTMLCanvasElement, ChartInstance>();
const darkScheme = matchMedia("(prefers-color-scheme: dark)");

function draw(canvas: HTMLCanvasElement, isDark: boolean): void {
  const spec = specsById.get(canvas.dataset.chart!);
  if (spec === undefined) return;
  drawn.get(canvas)?.destroy();
  const config = toChartConfig(spec, isDark ? DARK_THEME : LIGHT_THEME, { withTitle: false });
  drawn.set(canvas, new Chart(canvas, config as unknown as ChartConfiguration));
}

/** A canvas behind a closed fold has no size: it is drawn when the fold opens. */
function isShown(canvas: HTMLCanvasElement): boolean {
  return canvas.closest("details:not([open])") === null;
}

function drawAll(isDark: boolean): void {
  for (const canvas of document.querySelectorAll<HTMLCanvasElement>("canvas[data-chart]")) {
    if (isShown(canvas)) draw(canvas, isDark);
  }
}

for (const fold of document.querySelectorAll("details")) {
  fold.addEventListener("toggle", () => {
    for (const canvas of fold.querySelectorAll<HTMLCanvasElement>("canvas[data-chart]")) {
      if (isShown(canvas) && !drawn.has(canvas)) draw(canvas, darkScheme.matches);
    }
  });
}
darkScheme.addEventListener("change", () => drawAll(darkScheme.matches));
addEventListener("beforeprint", () => drawAll(false));
addEventListener("afterprint", () => drawAll(darkScheme.matches));
drawAll(darkScheme.matches);

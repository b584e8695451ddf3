/** Charts as PNG files, for pull requests and slides. */

import type { ChartConfiguration } from "chart.js";
import { ChartJSNodeCanvas } from "chartjs-node-canvas";
import { type ChartSpec, LIGHT_THEME, toChartConfig } from "./chart-config.js";

const WIDTH_PIXELS = 920;
const HEIGHT_PIXELS = 520;
/** Sharp on dense screens and in print. */
const DENSITY = 2;

/** Draws one chart with its title on white. Text needs a font installed on the machine. */
export function renderPng(spec: ChartSpec): Buffer {
  // The asynchronous calls of chartjs-node-canvas expect another canvas package and fail with @napi-rs/canvas.
  const canvas = new ChartJSNodeCanvas({ width: WIDTH_PIXELS, height: HEIGHT_PIXELS });
  const config = toChartConfig(spec, LIGHT_THEME, { withTitle: true, devicePixelRatio: DENSITY });
  return canvas.renderToBufferSync(config as unknown as ChartConfiguration, "image/png");
}

/**
 * The report as one HTML file that needs nothing else: Chart.js, our script, the style and the data stand inside it.
 *
 * Every name comes from a file that somebody else may have written. Text is escaped by Eta, data are JSON in which no
 * `<` is left, and a content policy lets the browser run our scripts, known by their hashes, and fetch nothing.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Eta } from "eta";
import type { ChartSpec } from "../chart-config.js";
import {
  classMeaningsWords,
  commandWords,
  environmentRows,
  METHOD,
  machineWords,
  startedWords,
} from "../environment.js";
import type { ReportModel, ScenarioModel } from "../model.js";
import type { Table } from "../tables.js";
import { axisName, countWords, listWords } from "../words.js";
import { STYLE } from "./style.js";
import { CHARTS_TEMPLATE, LIST_TEMPLATE, TABLE_TEMPLATE, TEMPLATE } from "./template.js";

const eta = new Eta({ autoEscape: true, autoTrim: false });

export function renderHtml(model: ReportModel): string {
  const chartLibrary = readChartLibrary();
  const pageScript = readPageScript();
  const charts = model.scenarios.flatMap(({ charts: { main, more } }) => [...main, ...more]);
  return eta.renderString(TEMPLATE, {
    model,
    style: STYLE,
    chartLibrary,
    pageScript,
    contentPolicy: contentPolicy([chartLibrary, pageScript]),
    chartData: safeJson(charts.map(compact)),
    started: startedWords(model.run),
    machine: machineWords(model.run),
    classMeanings: classMeaningsWords(),
    command: commandWords(model.run),
    method: METHOD,
    environment: environmentRows(model.run),
    countWords,
    facetNames: ({ analysis: { axes, xAxis } }: ScenarioModel) =>
      listWords(axes.filter((_, i) => i !== xAxis).map(axisName)),
    charts: (specs: ChartSpec[]) => eta.renderString(CHARTS_TEMPLATE, { charts: specs }),
    table: (table: Table) =>
      table.rows.length === 0 ? '<p class="muted">No figures.</p>' : eta.renderString(TABLE_TEMPLATE, { table }),
    list: (items: string[]) => eta.renderString(LIST_TEMPLATE, { items }),
  });
}

/** JSON that cannot end its script element, and that older parsers read too. */
function safeJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll("<", "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
}

/** Curves have thousands of points, of which no pixel shows more than five digits. */
function compact(spec: ChartSpec): ChartSpec {
  const short = (value: number) => Number(value.toPrecision(5));
  return {
    ...spec,
    series: spec.series.map((series) => ({
      ...series,
      points: series.points.map(({ x, y, lower, upper, label }) => ({
        x,
        y: short(y),
        ...(label === undefined ? {} : { label }),
        ...(lower === undefined || upper === undefined ? {} : { lower: short(lower), upper: short(upper) }),
      })),
    })),
  };
}

function readChartLibrary(): string {
  const entry = createRequire(import.meta.url).resolve("chart.js/auto");
  return inlinable(readFileSync(new URL("../dist/chart.umd.min.js", pathToFileURL(entry)), "utf8"));
}

/** Our modules in the order of their imports, which are dropped: in one script they see each other. */
function readPageScript(): string {
  const modules = ["../format.js", "../chart-config.js", "./page.js"];
  return modules
    .map((path) => readFileSync(new URL(path, import.meta.url), "utf8").replace(/^import .*$/gm, ""))
    .map(inlinable)
    .join("\n");
}

/** Without its source map, which the browser would fetch, and unable to end its script element. */
function inlinable(script: string): string {
  return script.replace(/^\/\/# sourceMappingURL=.*$/gm, "").replaceAll("</script", "<\\/script");
}

function contentPolicy(scripts: readonly string[]): string {
  const hashes = scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
  return `default-src 'none'; script-src ${hashes.join(" ")}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'`;
}

/** A run becomes files for people: one page, one Markdown summary, the charts as pictures, and a table for terminals. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../engines/storage/make-directory.js";
import type { Run } from "../results/schema.js";
import { renderHtml } from "./html/html.js";
import { renderMarkdown } from "./markdown.js";
import { buildModel } from "./model.js";
import { renderPng } from "./png.js";

export {
  gateMarkdown,
  gateTerminal,
  githubAnnotations,
  historyTerminal,
  writeGateReports,
  writeHistoryPage,
} from "./gate/index.js";
export { terminalTable } from "./terminal.js";

/**
 * Writes `report.html`, `report.md` and `charts/*.png` into `outputDirectory`, which is created if it is missing.
 *
 * @throws DamagedHistogramError, and whatever the file system throws
 */
export async function writeReports(run: Run, outputDirectory: string): Promise<void> {
  const model = buildModel(run);
  const chartDirectory = join(outputDirectory, "charts");
  makeDirectory(chartDirectory);
  for (const { charts } of model.scenarios) {
    for (const chart of charts.main) await writeFile(join(chartDirectory, `${chart.id}.png`), renderPng(chart));
  }
  await writeFile(join(outputDirectory, "report.md"), renderMarkdown(model));
  await writeFile(join(outputDirectory, "report.html"), renderHtml(model));
}

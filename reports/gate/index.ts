/** The gate's results as files for people and for continuous integration. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "../../engines/storage/make-directory.js";
import { type GateResult, gateResultSchema } from "../../results/gate.js";
import type { FigureHistory } from "../../results/gate-history.js";
import { junitXml } from "./ci.js";
import { historyPage } from "./history.js";
import { gateMarkdown } from "./markdown.js";
import { gatePage } from "./page.js";

export { githubAnnotations } from "./ci.js";
export { historyTerminal } from "./history.js";
export { gateMarkdown } from "./markdown.js";
export { gateTerminal } from "./terminal.js";

/** Writes `gate.json`, `gate.html`, `gate.md` and `gate.xml` (JUnit) into `directory`, which is made if it is missing. */
export async function writeGateReports(result: GateResult, directory: string): Promise<void> {
  makeDirectory(directory);
  const write = (name: string, text: string) => writeFile(join(directory, name), text);
  await write("gate.json", `${JSON.stringify(gateResultSchema.parse(result), null, 1)}\n`);
  await write("gate.html", gatePage(result));
  await write("gate.md", gateMarkdown(result));
  await write("gate.xml", junitXml(result));
}

/** Writes `history.html` into `directory`, which is made if it is missing. @returns its path */
export async function writeHistoryPage(histories: readonly FigureHistory[], directory: string): Promise<string> {
  makeDirectory(directory);
  const path = join(directory, "history.html");
  await writeFile(path, historyPage(histories));
  return path;
}

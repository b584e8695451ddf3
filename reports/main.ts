/** `npm run report -- RUN [--out DIR]`: the reports of a stored run, made again; of several runs their figures side by side. */

import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { loadRun, UnreadableRunError } from "../results/store.js";
import { acrossText, IncomparableRunsError, requireComparable } from "./across.js";
import { DamagedHistogramError } from "./histograms.js";
import { terminalTable, writeReports } from "./index.js";

const EXIT_USAGE = 2;

async function main(): Promise<void> {
  const command = new Command("npm run report --")
    .description("Writes report.html, report.md and charts/*.png of a stored run.")
    .argument("<run...>", "directory of a run, or its run.json; of several runs equal cells are shown side by side")
    .option("--across-machines", "compare runs of different machines all the same, each figure with its machine")
    .option("--out <directory>", "where to write; the run's own directory unless told")
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  command.parse();
  const paths = command.args;
  const { out, acrossMachines = false } = command.opts<{ out?: string; acrossMachines?: boolean }>();
  const runs = paths.map(loadRun);
  const [path, run] = [paths[0]!, runs[0]!];
  if (runs.length > 1) {
    requireComparable(runs, acrossMachines);
    process.stdout.write(`${acrossText(runs)}\n`);
    return;
  }
  const directory = resolve(out ?? (statSync(path).isDirectory() ? path : dirname(path)));
  await writeReports(run, directory);
  process.stdout.write(`${terminalTable(run)}\n\nReport: ${resolve(directory, "report.html")}\n`);
}

/** One sentence on what was asked for wrongly; null if the fault is ours. */
function usageProblem(error: unknown): string | null {
  if (error instanceof CommanderError) return error.message.replace(/^error: /, "");
  if (error instanceof IncomparableRunsError) return error.message;
  if (error instanceof UnreadableRunError || error instanceof DamagedHistogramError) return error.message;
  // The file system's own errors: no permission, no space, a file where a directory should be.
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  return code === undefined || syscall === undefined ? null : `Cannot ${syscall} ${path ?? ""} (${code}).`;
}

main().catch((error: unknown) => {
  if (error instanceof CommanderError && error.exitCode === 0) return;
  const problem = usageProblem(error);
  if (problem === null) throw error;
  process.stderr.write(`${problem}\n`);
  process.exitCode = EXIT_USAGE;
});

/** `npm run report -- RUN [--out DIR]`: the reports of a stored run, made again; of several runs their figures side by side. */

import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { parseCommand, UsageError } from "../engines/command-line.js";
import { DamagedHistogramError } from "../results/histogram.js";
import { loadRun, UnreadableRunError } from "../results/store.js";
import { acrossText, IncomparableRunsError, requireComparable } from "./across.js";
import { cleanRecord } from "./clean.js";
import { terminalTable, writeReports } from "./index.js";

const EXIT_USAGE = 2;

async function main(): Promise<void> {
  const command = new Command("npm run report --")
    .description("Writes report.html, report.md and charts/*.png of a stored run.")
    .argument("<run...>", "directory of a run, or its run.json; of several runs equal cells are shown side by side")
    .option("--across-machines", "compare runs of different machines all the same, each figure with its machine")
    .option("--out <directory>", "where to write the report of a single run (default: the run's own directory)")
    .addHelpText(
      "after",
      `
A single run's tables are also printed; several runs are only printed. A run that was interrupted is reported as far as it
went. Nothing of a run.json is executed, and no text of it reaches the terminal or the page unescaped.

Exit codes: 0 written, 2 usage, an unreadable run, runs of different machines, or nowhere to write.

Examples:
  npm run report -- results/runs/2025-01-31T12-00-00Z-1a2b
  npm run report -- run.json --out /tmp/report
  npm run report -- before/run.json after/run.json`,
    );
  parseCommand(command, process.argv.slice(2));
  const paths = command.args;
  const { out, acrossMachines = false } = command.opts<{ out?: string; acrossMachines?: boolean }>();
  const runs = paths.map(loadRun);
  const [path, run] = [paths[0]!, runs[0]!];
  if (runs.length > 1) {
    if (out !== undefined) throw new UsageError("--out is for the report of a single run; several are only printed.");
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
  if (error instanceof UsageError) return error.message;
  if (error instanceof IncomparableRunsError) return error.message;
  if (error instanceof UnreadableRunError || error instanceof DamagedHistogramError) return error.message;
  // The file system's own errors: no permission, no space, a file where a directory should be.
  const { code, path, syscall } = error as NodeJS.ErrnoException;
  return code === undefined || syscall === undefined ? null : `Cannot ${syscall} ${path ?? ""} (${code}).`;
}

main().catch((error: unknown) => {
  if (error instanceof CommanderError) return;
  const problem = usageProblem(error);
  if (problem === null) throw error;
  process.stderr.write(`${cleanRecord(problem)}\n`);
  process.exitCode = EXIT_USAGE;
});

/** What the engines' benchmarks share: options, the choice of rows, a directory on the disk under test. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { InvalidArgumentError } from "commander";

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

/** Those whose name contains `part`. Ends the process with a sentence when there are none. */
export function chooseByName<T extends { readonly name: string }>(candidates: readonly T[], part: string): T[] {
  const chosen = candidates.filter(({ name }) => name.includes(part));
  if (chosen.length > 0) return chosen;
  const names = [...new Set(candidates.map(({ name }) => name))].join("; ");
  console.error(`Nothing here contains "${part}". There are: ${names}.`);
  process.exit(2);
}

/** A directory of the file system that the command was started on, removed afterwards. */
export async function withBenchDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(process.cwd(), ".logduel-bench-"));
  try {
    await run(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

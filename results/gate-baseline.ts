/** Stored baselines of the gate: `results/baselines/<name>.json`, to be committed. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { makeDirectory } from "../engines/storage/make-directory.js";
import { baselineSchema, type GateBaseline } from "./gate.js";

const DIRECTORY = "results/baselines";

/** The baseline cannot be read or written; the message says why. */
export class UnreadableBaselineError extends Error {
  override name = "UnreadableBaselineError";
}

/** @throws UnreadableBaselineError when the name cannot be a file's */
export function requireBaselineName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$/.test(name)) return;
  throw new UnreadableBaselineError(
    `${JSON.stringify(name)} cannot name a baseline: take letters, digits, hyphens and dots, a letter or digit first.`,
  );
}

/** Writes the baseline, over one of the same name. @returns its path @throws UnreadableBaselineError */
export function saveBaseline(baseline: GateBaseline): string {
  requireBaselineName(baseline.name);
  makeDirectory(DIRECTORY);
  const path = resolve(join(DIRECTORY, `${baseline.name}.json`));
  writeFileSync(path, `${JSON.stringify(baselineSchema.parse(baseline), null, 1)}\n`);
  return path;
}

/** @throws UnreadableBaselineError */
export function loadBaseline(file: string): GateBaseline {
  if (!existsSync(file)) throw new UnreadableBaselineError(`There is no baseline at ${resolve(file)}.`);
  try {
    return baselineSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new UnreadableBaselineError(`${file} is no baseline of this version of the gate.`, { cause });
  }
}

/** The files of a run; nobody else knows them. */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { makeDirectory } from "../engines/storage/make-directory.js";
import { type Run, runSchema, type Search, type Trial, trialSchema } from "./schema.js";

const RUN_FILE = "run.json";
const TRIALS_FILE = "trials.jsonl";

/** The stored run is not one, or not of this version; the message names the file and the first thing wrong. */
export class UnreadableRunError extends Error {
  override name = "UnreadableRunError";
}

/**
 * A run while it grows. `run.json` is whole and valid at every moment and says `partial` until the end; each finished
 * trial is on disk at once as a line of `trials.jsonl` beside it, which the end folds into `run.json`.
 */
export class RunStore {
  #run: Run;

  /** Makes `directory`, which must not hold a run yet; `resume` brings the trials that one has. */
  constructor(
    readonly directory: string,
    begun: Omit<Run, "status" | "finishedAt" | "trials" | "searches"> & {
      trials?: readonly Trial[];
      searches?: readonly Search[];
    },
  ) {
    const trials = [...(begun.trials ?? [])];
    makeDirectory(directory);
    this.#run = { ...begun, status: "partial", finishedAt: null, trials, searches: [...(begun.searches ?? [])] };
    if (begun.trials === undefined) writeFileSync(join(directory, TRIALS_FILE), "", { flag: "wx" });
    this.#write();
  }

  /**
   * Goes on with the unfinished run in `directory`: whatever stage it was killed in, and without the half of a line that
   * it may have left.
   * @throws UnreadableRunError
   */
  static resume(directory: string): RunStore {
    const run = loadRun(directory);
    // The trials first: until run.json says that the run goes on, it is read without them.
    replaceFile(join(directory, TRIALS_FILE), linesOf(run.trials));
    return new RunStore(directory, run);
  }

  get run(): Run {
    return this.#run;
  }

  /** Adds what the device probe measured, and what is to be noted of it. */
  setProbe(probe: Run["probe"], notes: readonly string[]): void {
    const { environment } = this.#run;
    this.#run = { ...this.#run, probe, environment: { ...environment, notes: [...environment.notes, ...notes] } };
    this.#write();
  }

  setAgreement(agreement: Run["agreement"]): void {
    this.#run = { ...this.#run, agreement };
    this.#write();
  }

  setAfter(after: Pick<Run, "probeAfter" | "loadAverageAfter">): void {
    this.#run = { ...this.#run, ...after };
    this.#write();
  }

  /** How many trials are planned from now on; a run is complete with so many. */
  plan(plannedTrialCount: number): void {
    this.#run = { ...this.#run, plannedTrialCount };
  }

  /** What the run's time did not suffice to resolve. */
  setUnresolved(unresolved: Run["unresolved"]): void {
    this.#run = { ...this.#run, unresolved: [...unresolved] };
  }

  /** Adds a search that has ended; one that is cut short is lost as a whole. */
  addSearch(search: Search): void {
    this.#run = { ...this.#run, searches: [...this.#run.searches, search] };
    this.#write();
  }

  appendTrial(trial: Trial): void {
    const checked = trialSchema.parse(trial);
    this.#run.trials.push(checked);
    const file = join(this.directory, TRIALS_FILE);
    if (existsSync(file)) {
      appendLine(file, JSON.stringify(checked));
      return;
    }
    // Somebody removed the directory meanwhile: the run goes on in a new one, with all that it has.
    this.#write();
    replaceFile(file, linesOf(this.#run.trials));
  }

  /** Ends the run: complete, if every planned trial is there and it was not `interrupted`. */
  finish(options: { interrupted: boolean }): Run {
    const isWhole = !options.interrupted && this.#run.trials.length === this.#run.plannedTrialCount;
    this.#run = {
      ...this.#run,
      status: isWhole ? "complete" : "partial",
      finishedAt: new Date().toISOString(),
    };
    this.#write();
    rmSync(join(this.directory, TRIALS_FILE), { force: true });
    return this.#run;
  }

  #write(): void {
    makeDirectory(this.directory);
    replaceFile(join(this.directory, RUN_FILE), `${JSON.stringify(runSchema.parse(this.#run), null, 1)}\n`);
  }
}

/**
 * Loads a run, finished or cut short, from its directory or from its `run.json`.
 * @throws UnreadableRunError
 */
export function loadRun(path: string): Run {
  const isDirectory = existsSync(path) && statSync(path).isDirectory();
  const file = isDirectory ? join(path, RUN_FILE) : path;
  if (!existsSync(file))
    throw new UnreadableRunError(`There is no run at ${file}. Give a directory that holds run.json.`);
  const run = parseWith(runSchema, readFileSync(file, "utf8"), file);
  const trialsFile = join(file, "..", TRIALS_FILE);
  if (run.finishedAt !== null || !existsSync(trialsFile)) return run;
  const lines = readFileSync(trialsFile, "utf8").split("\n");
  // What follows the last line feed is empty, or a line that was being written when the run was cut short.
  lines.pop();
  const trials = lines.map((line, index) => parseWith(trialSchema, line, `${trialsFile}, line ${index + 1}`));
  return { ...run, trials };
}

function linesOf(trials: readonly Trial[]): string {
  return trials.map((trial) => `${JSON.stringify(trial)}\n`).join("");
}

/** Whole or not at all, also after a power loss. */
function replaceFile(path: string, content: string): void {
  const draft = `${path}.tmp`;
  try {
    writeAndClose(openSync(draft, "w"), content);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

function appendLine(path: string, line: string): void {
  const file = openSync(path, "a");
  writeAndClose(file, `${line}\n`);
}

/** All of it, synced, or an error: a disk that is nearly full takes a part of a single write without one. */
function writeAndClose(file: number, content: string): void {
  try {
    writeFileSync(file, content);
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

function parseWith<T>(schema: { parse: (value: unknown) => T }, text: string, where: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    const issue = (cause as { issues?: { path: PropertyKey[]; message: string }[] }).issues?.[0];
    const reason =
      issue === undefined ? (cause as Error).message : `${issue.path.map(String).join(".")}: ${issue.message}`;
    throw new UnreadableRunError(`${where} is not a run of this version (${reason}).`, { cause });
  }
}

/** `npm run torture`: crashes engines for as long as it is let, and ends with what was lost. */

import { randomInt } from "node:crypto";
import { Command, CommanderError } from "commander";
import { parseCommand, UsageError } from "../command-line.js";
import type { EngineDefinition } from "../engine.js";
import { printable } from "../printable.js";
import { EngineLoadError, engineNames, loadEngine } from "../registry.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { DataDirectory } from "./data-directory.js";
import { Ledger } from "./ledger.js";
import { addOutcome, noOutcome } from "./outcome.js";
import { drawRound, type Round, runRound } from "./round.js";

const EXIT_USAGE = 2;
const EXIT_ENGINE_FAILED = 4;
const EXIT_INTERRUPTED = 130;
const NEEDED_FREE_BYTES = 1_073_741_824;
const SEEDS = 2 ** 32;
const PROGRESS_EVERY_MS = 5_000;
/** A trial that takes so long hangs. */
const TRIAL_LIMIT_MS = 120_000;
const WRONGS_SHOWN = 5;
/** The null engine keeps nothing that it could lose. */
const ALL_ENGINES = engineNames().filter((name) => name !== "null");

interface Options {
  minutes: number;
  rounds: number;
  engine: string[];
  seed: number;
}

interface Subject {
  readonly definition: EngineDefinition;
  /** As it was given: a name, or a path. */
  readonly engine: string;
}

async function main(args: string[]): Promise<number> {
  try {
    const options = parseArguments(args);
    return await torture(await loadSubjects(options.engine), options);
  } catch (error) {
    if (error instanceof CommanderError) return 0;
    if (![UsageError, EngineLoadError].some((type) => error instanceof type)) throw error;
    console.error(printable((error as Error).message));
    return EXIT_USAGE;
  }
}

async function torture(subjects: readonly Subject[], options: Options): Promise<number> {
  const data = makeDataDirectory();
  process.on("exit", () => data.remove());
  const interruption = new AbortController();
  const interrupt = () => {
    if (interruption.signal.aborted) process.exit(EXIT_INTERRUPTED);
    interruption.abort();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);

  console.error(`Seed ${options.seed}; the same seed makes the same choices.`);
  const ledger = new Ledger();
  const progress = new Progress(options, subjects.length);
  const { signal } = interruption;
  for (let done = 0; !signal.aborted && !progress.isOver(done); done++) {
    for (const subject of subjects) {
      if (signal.aborted) break;
      const round = drawRound(subject.definition, (options.seed + done) % SEEDS);
      await runAndJudge(subject, round, ledger, { data, signal });
      progress.tell(ledger);
    }
  }
  console.log(ledger.table());
  console.log(
    "Lost: acknowledged and gone. Oldest: from its acknowledgement to the cut, by the power rig's own clock.",
  );
  if (ledger.failures > 0) return EXIT_ENGINE_FAILED;
  return signal.aborted ? EXIT_INTERRUPTED : 0;
}

async function runAndJudge(
  subject: Subject,
  round: Round,
  ledger: Ledger,
  where: { data: DataDirectory; signal: AbortSignal },
): Promise<void> {
  const outcome = noOutcome();
  const hung = setTimeout(() => {
    tellFailure(subject, round, [`a crash or recovery did not end in ${TRIAL_LIMIT_MS / 1_000} s`]);
    console.log(ledger.table());
    process.exit(EXIT_ENGINE_FAILED);
  }, TRIAL_LIMIT_MS);
  try {
    for await (const part of runRound(subject, round, { directory: where.data.path, signal: where.signal })) {
      addOutcome(outcome, part);
      hung.refresh();
    }
  } catch (error) {
    outcome.wrongs.push((error as Error).stack ?? String(error));
  } finally {
    clearTimeout(hung);
  }
  where.data.clear();
  const failed = outcome.wrongs.length > 0 && !where.signal.aborted;
  if (failed) tellFailure(subject, round, outcome.wrongs);
  ledger.add(subject.definition.name, round, outcome, failed);
}

function tellFailure({ definition, engine }: Subject, round: Round, wrongs: readonly string[]): void {
  const { rig, seed, settings, writerCount } = round;
  const threads = writerCount === 0 ? "" : `, ${writerCount} writers more`;
  const lines = [
    `FAILED: ${definition.name}, rig ${rig}, seed ${seed}${threads}, settings ${JSON.stringify(settings)}`,
    ...wrongs.slice(0, WRONGS_SHOWN).map((wrong) => `  ${wrong.replaceAll("\n", "\n  ")}`),
    ...(wrongs.length > WRONGS_SHOWN ? [`  and ${wrongs.length - WRONGS_SHOWN} more`] : []),
  ];
  for (const line of lines.flatMap((each) => each.split("\n"))) console.error(printable(line));
  const quoted = /^[\w./:@-]+$/.test(engine) ? engine : `'${engine.replaceAll("'", "'\\''")}'`;
  console.error(printable(`Repeat it: npm run torture -- --engine ${quoted} --seed ${seed} --rounds 1`));
}

/** Says every few seconds how far it is, and knows when the end has come. */
class Progress {
  readonly #startedNs = process.hrtime.bigint();
  #toldMs = 0;

  constructor(
    private readonly options: Options,
    private readonly subjectCount: number,
  ) {}

  /** @param done rounds of each engine */
  isOver(done: number): boolean {
    const { rounds, minutes } = this.options;
    if (rounds !== Infinity) return done >= rounds;
    return done > 0 && this.#elapsedMs() >= minutes * 60_000;
  }

  tell(ledger: Ledger): void {
    const elapsedMs = this.#elapsedMs();
    if (elapsedMs - this.#toldMs < PROGRESS_EVERY_MS) return;
    this.#toldMs = elapsedMs;
    const { rounds, minutes } = this.options;
    const leftMs =
      rounds === Infinity
        ? minutes * 60_000 - elapsedMs
        : (elapsedMs / ledger.rounds) * (rounds * this.subjectCount - ledger.rounds);
    const seconds = Math.max(0, Math.round(leftMs / 1_000));
    const left = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    console.error(`${ledger.rounds} rounds done, ${ledger.failures} failed, ${left} left`);
  }

  #elapsedMs(): number {
    return Number(process.hrtime.bigint() - this.#startedNs) / 1e6;
  }
}

function makeDataDirectory(): DataDirectory {
  const parent = process.cwd();
  try {
    const freeBytes = new DiskStorage().freeBytes(parent);
    if (freeBytes < NEEDED_FREE_BYTES) {
      throw new UsageError(`${parent} has ${freeBytes} bytes free and torture needs ${NEEDED_FREE_BYTES}: free some.`);
    }
    return new DataDirectory(parent);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`No directory can be made in ${parent}: ${(error as Error).message}.`);
  }
}

async function loadSubjects(engines: readonly string[]): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const engine of engines) {
    const definition = await loadEngine(engine);
    if (!definition.storesMessages)
      throw new UsageError(`${definition.name} keeps nothing that it could lose: leave it out.`);
    subjects.push({ definition, engine });
  }
  return subjects;
}

function parseArguments(args: string[]): Options {
  const command = new Command("npm run torture --")
    .description("Kills engines and cuts their power, and checks that all they acknowledged is there afterwards.")
    .option("--minutes <n>", "how long, 10 by default", positiveNumber("minutes"))
    .option("--rounds <n>", "so many rounds of each engine, instead of a time", wholeNumber("rounds", 1, 1_000_000))
    .option(
      "--engine <names>",
      `these engines, separated by commas, by name or path of a module (default: ${ALL_ENGINES.join(",")})`,
      names,
    )
    .option("--seed <n>", "of all choices (default: drawn by chance)", wholeNumber("seed", 0, SEEDS - 1))
    .addHelpText("after", "\nExit codes: 0 nothing wrong, 2 usage, 4 an engine or its data failed, 130 interrupted.");
  parseCommand(command, args);
  const { minutes, rounds, engine, seed } = command.opts<Partial<Options>>();
  if (minutes !== undefined && rounds !== undefined) throw new UsageError("Give --minutes or --rounds, not both.");
  return {
    minutes: minutes ?? 10,
    rounds: rounds ?? Infinity,
    engine: engine ?? ALL_ENGINES,
    seed: seed ?? randomInt(SEEDS),
  };
}

function names(text: string): string[] {
  const list = [...new Set(text.split(",").map((name) => name.trim()))].filter(Boolean);
  if (list.length === 0) throw new UsageError(`--engine ${JSON.stringify(text)} names no engine.`);
  return list;
}

function positiveNumber(what: string): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d*\.?\d+$/.test(text) || !(number > 0))
      throw new UsageError(`--${what} ${JSON.stringify(text)} is no number above 0.`);
    return number;
  };
}

function wholeNumber(what: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d{1,10}$/.test(text) && number >= least && number <= most) return number;
    throw new UsageError(`--${what} ${JSON.stringify(text)} is no whole number from ${least} to ${most}.`);
  };
}

process.exitCode = await main(process.argv.slice(2));

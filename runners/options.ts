/** What `npm run bench` is asked for. */
import { randomInt } from "node:crypto";
import { Command } from "commander";
import { parseCommand, UsageError } from "../engines/command-line.js";
import type { Objective, Run } from "../results/schema.js";
import { parseObjective } from "./objective.js";

const SHORTEST_BUDGET_MS = 10_000;

export interface Options {
  profile: string;
  scenario?: string[];
  engine?: string[];
  dir?: string;
  out?: string;
  resume?: string;
  payload?: string;
  objective?: Objective;
  seed: number;
  /** Milliseconds. */
  budget?: number;
  list?: boolean;
  dryRun?: boolean;
  anyFilesystem?: boolean;
  allowNeighbours?: boolean;
}

/** @throws UsageError, in one sentence; CommanderError with exit code 0 after `--help` */
export function parseOptions(args: string[]): Options;
export function parseOptions(args: string[], options: { withDefaults: false }): Partial<Options>;
export function parseOptions(args: string[], { withDefaults } = { withDefaults: true }): Partial<Options> {
  const list = (text: string) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean);
  const command = new Command("npm run bench --")
    .description("Drives storage engines on the real disk and reports what each layout costs.")
    .option("--profile <name>", "smoke, quick or full", "quick")
    .option("--scenario <ids>", "only these scenarios, separated by commas", list)
    .option("--engine <names>", "only these engines, by name or path of a module (./mine.js)", list)
    .option("--dir <directory>", "measure the disk that this existing directory lies on (default: here)", requirePath)
    .option("--out <directory>", "where the results go (default: results/runs/<time>-<id>)", requirePath)
    .option("--payload <file>", "send the lines of this file (64 MiB at most) instead of made-up values", requirePath)
    .option(
      "--objective <p99<=5ms>",
      "then search for the highest rate that each engine meets this at",
      requireObjective,
    )
    .option("--resume <run>", "go on with an unfinished run: its id below results/runs, or its directory", requirePath)
    .option("--seed <n>", "of payloads, arrivals and order (default: drawn by chance)", parseSeed)
    .option("--budget <time>", "of the whole run, as 10m or 1h30m: spent where intervals are widest", parseBudget)
    .option("--list", "show scenarios, engines and profiles, and end")
    .option("--dry-run", "show what would run and how long it would take, and end")
    .option("--any-filesystem", "measure even on what is no disk (tmpfs, overlay, network)")
    .option("--allow-neighbours", "keep trials beside which others wrote to the device, as doubtful: repeat none")
    .addHelpText(
      "after",
      `
Engines are driven in fresh processes and directories below --dir, which are removed again. Every finished trial is on
disk at once: a run that was interrupted, killed, or stopped by a full disk goes on with --resume. A search that was cut
short begins anew then; finished searches are kept. With --budget and --objective half of the budget is the searches'.

Exit codes: 0 done, 2 usage, unfit target, or nowhere to write, 4 an engine or its data failed, 130 interrupted.

Examples:
  npm run bench -- --profile smoke --scenario many-partitions
  npm run bench -- --engine partitioned-log,./mine.js --budget 10m
  npm run bench -- --objective 'p99<=5ms' --dir /mnt/nvme
  npm run bench -- --resume 2025-01-31T12-00-00Z-1a2b`,
    );
  parseCommand(command, args);
  const options = command.opts<Omit<Options, "seed">>();
  if (withDefaults) return { seed: randomInt(2 ** 31), ...options };
  const given = Object.entries(options).filter(([name]) => command.getOptionValueSource(name) === "cli");
  return Object.fromEntries(given);
}

/**
 * The options that a run was begun with; only its budget may be another now.
 * @throws UsageError when `args` contradict them
 */
export function optionsOf(run: Run, args: string[]): Options {
  const begun = parseOptions(run.command);
  const now: Partial<Options> = parseOptions(args, { withDefaults: false });
  const { resume: _, budget, ...others } = now;
  for (const [name, value] of Object.entries(others)) {
    if (JSON.stringify(begun[name as keyof Options]) === JSON.stringify(value)) continue;
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new UsageError(`${option} is not what run ${run.runId} was begun with; leave it out, or begin a new run.`);
  }
  return budget === undefined ? begun : { ...begun, budget };
}

/** An empty path is a shell variable that was not set, and would mean the working directory. */
function requirePath(text: string): string {
  if (text === "")
    throw new UsageError(
      "An empty path was given; name a directory (--dir, --out) or a file (--payload), or leave the option out.",
    );
  return text;
}

function requireObjective(text: string): Objective {
  const objective = parseObjective(text);
  if (objective !== null) return objective;
  throw new UsageError(
    `The objective ${JSON.stringify(text)} is not a percentile and a response time; write it as p99<=5ms (ns, us, ms or s).`,
  );
}

function parseSeed(text: string): number {
  const seed = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(seed)) {
    throw new UsageError(`The seed ${JSON.stringify(text)} is not a whole number from 0 on.`);
  }
  return seed;
}

/** `90s`, `10m`, `1h30m` in milliseconds. */
function parseBudget(text: string): number {
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  const [hours, minutes, seconds] = (parts?.slice(1) ?? []).map((part) => Number(part ?? 0));
  const milliseconds = ((hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0)) * 1000;
  if (parts === null || !Number.isSafeInteger(milliseconds) || milliseconds < SHORTEST_BUDGET_MS) {
    throw new UsageError(
      `The budget ${JSON.stringify(text)} is not a time from 10s on; give one as 90s, 10m or 1h30m.`,
    );
  }
  return milliseconds;
}

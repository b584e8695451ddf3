/** `npm run bench`: drives engines on the real disk by scenarios and ends with a report. Exit codes stand in the README. */

import { randomBytes, randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { relative, resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { EngineLoadError, engineNames, loadEngine } from "../engines/registry.js";
import { makeDirectory } from "../results/make-directory.js";
import { FORMAT_VERSION, type Objective, type Run } from "../results/schema.js";
import { RunStore } from "../results/store.js";
import { chooseScenarios, loadContestants, loadProfiles, loadScenarios, UsageError } from "./catalogue.js";
import { DataDirectory, otherDataDirectories, requireFitTarget, UnfitTargetError } from "./data-directory.js";
import { describeCode, describeEnvironment, installedPackages } from "./environment.js";
import { compareDeviceWithFio, executeTrials, probeDevice } from "./execute.js";
import { parseObjective, searchRates } from "./objective.js";
import { describePayloadFile, PayloadFileError } from "./payload-pool.js";
import { type Plan, PlanError, planRun } from "./plan.js";
import { createProgress, duration } from "./progress.js";
import { findInterrupted, requireSame } from "./resume.js";
import type { Profile, ProfileName, Scenario } from "./scenario.js";
import { printable } from "./terminal.js";

const EXIT_USAGE = 2;
const EXIT_ENGINE_FAILED = 4;
const EXIT_INTERRUPTED = 130;
const IMPATIENCE_MS = 2_000;
/** What a trial costs beside its load: starting the process, flushing, reading back, removing. */
const TRIAL_OVERHEAD_MS = 600;
const REPORT_MS = 15_000;
/** Of a budget too short for that, reports have this share at most. */
const REPORT_SHARE = 0.25;
/** With a budget of the user's own, time ends a run and not the count of repetitions. */
const BUDGET_REPETITIONS = 100;
const SHORTEST_BUDGET_MS = 10_000;
/** Space that a trial needs: its payload with framing and indexes, and the files that are allocated in advance. */
const FRAMING_FACTOR = 1.5;
const FILES_AHEAD = 3;

interface Options {
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
}

// Whoever reads along may go away (a pipe to head, a closed terminal): the run and its report do not depend on it.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    return await bench(args);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const isUsage = [UsageError, UnfitTargetError, PlanError, PayloadFileError, EngineLoadError].some(
      (type) => error instanceof type,
    );
    if (!isUsage) throw error;
    console.error(printable((error as Error).message));
    return EXIT_USAGE;
  }
}

async function bench(args: string[]): Promise<number> {
  const given = parseArguments(args);
  const resumed = given.resume === undefined ? null : findInterrupted(given.resume);
  const options = resumed === null ? given : optionsOf(resumed.run, args);
  const [scenarios, profiles] = await Promise.all([loadScenarios(), loadProfiles()]);
  if (options.list) {
    await printList(scenarios, profiles);
    return 0;
  }
  const profileName = requireProfile(options.profile, profiles);
  const profile = profiles[profileName];
  const plan = planRun({
    scenarios: chooseScenarios(scenarios, options.scenario ?? null),
    contestants: await loadContestants(options.engine ?? null),
    profileName,
    profile,
    seed: options.seed,
    ...(options.payload === undefined ? {} : { payload: describePayloadFile(resolve(options.payload)) }),
  });
  if (plan.trials.length === 0) {
    throw new UsageError("None of the chosen engines takes part in the chosen scenarios; --list shows which do.");
  }
  if (options.dryRun) {
    printPlan(plan, profile, options);
    return 0;
  }
  return run({ args, options, resumed, plan, profileName, profile });
}

async function run(context: {
  args: string[];
  options: Options;
  resumed: ReturnType<typeof findInterrupted> | null;
  plan: Plan;
  profileName: ProfileName;
  profile: Profile;
}): Promise<number> {
  const { args, options, resumed, plan, profileName, profile } = context;
  const parent = resolve(options.dir ?? ".");
  const mount = await requireFitTarget(parent, {
    freeBytes: neededBytes(profile),
    anyFilesystem: options.anyFilesystem ?? false,
  });
  for (const path of otherDataDirectories(parent)) {
    console.error(`Another run's data lies in ${printable(path)}: remove it if no other run is under way.`);
  }
  const startedMs = Date.now();
  const startedAt = new Date(startedMs).toISOString();
  const budgetMs = options.budget ?? profile.budgetMs;
  const spentMs = (resumed?.run.trials ?? []).reduce((sum, { durationNs }) => sum + durationNs / 1e6, 0);
  const runId = `${startedAt.slice(0, 19).replaceAll(":", "-")}Z-${randomBytes(2).toString("hex")}`;
  const outputDirectory = resumed?.directory ?? makeOutput(options.out ?? `results/runs/${runId}`);
  const environment = await describeEnvironment(mount, profile.maximumBytes);
  const code = await describeCode();
  if (resumed !== null)
    requireSame(resumed.run, plan, environment, { code, fingerprint: environment.fingerprint, profile });
  const store =
    resumed !== null
      ? RunStore.resume(outputDirectory)
      : new RunStore(outputDirectory, {
          formatVersion: FORMAT_VERSION,
          runId,
          startedAt,
          command: repeatable(args, options.seed),
          profile: profileName,
          seed: options.seed,
          code,
          packages: installedPackages(),
          environment,
          probe: [],
          probeAfter: [],
          agreement: null,
          budgetMs,
          unresolved: [],
          scenarios: [...plan.scenarios],
          plannedTrialCount: plan.trials.length,
        });

  const dataDirectory = new DataDirectory(parent);
  const interruption = new AbortController();
  let interruptedMs = 0;
  const interrupt = () => {
    // One Ctrl-C may arrive twice, from the terminal and from npm; a later one means that ending takes too long.
    if (interruption.signal.aborted && Date.now() - interruptedMs > IMPATIENCE_MS) {
      dataDirectory.remove();
      process.exit(EXIT_INTERRUPTED);
    }
    if (!interruption.signal.aborted) interruptedMs = Date.now();
    interruption.abort();
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, interrupt);
  const progress = createProgress(
    estimatedTrialMs(profile),
    budgetMs === null ? null : startedMs - spentMs + budgetMs,
    process.stderr,
  );
  const execution = {
    store,
    dataDirectory,
    profile,
    progress,
    deviceStatPath: mount.statPath,
    environment,
    code,
    signal: interruption.signal,
  };
  let engineFailed = false;
  try {
    if (store.run.trials.length > 0) progress.note(`${store.run.trials.length} trials are there already.`);
    const probeStartedMs = Date.now();
    if (store.run.probe.length === 0) {
      progress.note("Probing the device …");
      const { results, notes } = await probeDevice(execution, options.seed);
      store.setProbe(results, notes);
      for (const note of notes) progress.note(note);
      store.setAgreement(await compareDeviceWithFio(execution));
    }
    const probeMs = Date.now() - probeStartedMs;
    const budget =
      budgetMs === null
        ? null
        : {
            deadlineMs: startedMs - spentMs + budgetMs - probeMs - Math.min(REPORT_MS, REPORT_SHARE * budgetMs),
            maximumRepetitions: options.budget === undefined ? profile.repetitions : BUDGET_REPETITIONS,
          };
    ({ engineFailed } = await executeTrials(plan.trials, execution, budget));
    if (options.objective !== undefined) {
      const searched = await searchRates(plan.trials, options.objective, execution);
      engineFailed ||= searched.engineFailed;
    }
    progress.note("Probing the device again …");
    store.setProbeAfter((await probeDevice(execution, options.seed)).results);
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
  } finally {
    progress.end();
    dataDirectory.remove();
  }
  // A Ctrl-C from here on takes nothing from the run: the reports are written all the same.
  const isInterrupted = interruption.signal.aborted;
  const finished = store.finish({ interrupted: isInterrupted });
  // Loaded only now: charts are slow to load, and no trial needs them.
  const { terminalTable, writeReports } = await import("../reports/index.js");
  await writeReports(finished, outputDirectory);
  console.log(terminalTable(finished));
  if (isInterrupted) console.log("Interrupted: the report is partial.");
  else if (finished.status === "partial")
    console.log("The time was up before every point had a trial: the report is partial.");
  console.log(`Report: ${printable(relative(process.cwd(), resolve(outputDirectory, "report.html")))}`);
  if (isInterrupted) return EXIT_INTERRUPTED;
  return engineFailed ? EXIT_ENGINE_FAILED : 0;
}

function parseArguments(args: string[]): Options;
function parseArguments(args: string[], options: { withDefaults: false }): Partial<Options>;
function parseArguments(args: string[], { withDefaults } = { withDefaults: true }): Partial<Options> {
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
    .option("--payload <file>", "send the lines of this file instead of made-up values", requirePath)
    .option(
      "--objective <p99<=5ms>",
      "then search for the highest rate that each engine meets this at",
      requireObjective,
    )
    .option("--resume <run>", "go on with an interrupted run: its id below results/runs, or its directory", requirePath)
    .option("--seed <n>", "of payloads, arrivals and order (default: drawn by chance)", parseSeed)
    .option("--budget <time>", "of the whole run, as 10m or 1h30m: spent where intervals are widest", parseBudget)
    .option("--list", "show scenarios, engines and profiles, and end")
    .option("--dry-run", "show what would run and how long it would take, and end")
    .option("--any-filesystem", "measure even on what is no disk (tmpfs, overlay, network)")
    .helpOption("--help", "show this help, and end")
    .addHelpText(
      "after",
      `\nExit codes: 0 done, 2 usage or unfit target, 4 an engine or its data failed, 130 interrupted.`,
    )
    .allowExcessArguments(true)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  try {
    command.parse(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode !== 0) throw new UsageError(explain(error, command));
    throw error;
  }
  if (command.args.length > 0) {
    throw new UsageError(`${JSON.stringify(command.args[0])} is no option; there are ${optionNames(command)}.`);
  }
  const options = command.opts<Omit<Options, "seed">>();
  if (withDefaults) return { seed: randomInt(2 ** 31), ...options };
  const given = Object.entries(options).filter(([name]) => command.getOptionValueSource(name) === "cli");
  return Object.fromEntries(given);
}

/**
 * The options that a run was begun with; only its budget may be another now.
 * @throws UsageError when `args` contradict them
 */
function optionsOf(run: Run, args: string[]): Options {
  const begun = parseArguments(run.command);
  const now: Partial<Options> = parseArguments(args, { withDefaults: false });
  const { resume: _, budget, ...others } = now;
  for (const [name, value] of Object.entries(others)) {
    if (JSON.stringify(begun[name as keyof Options]) === JSON.stringify(value)) continue;
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new UsageError(`${option} is not what run ${run.runId} was begun with; leave it out, or begin a new run.`);
  }
  return budget === undefined ? begun : { ...begun, budget };
}

/** Commander's message as one sentence that lists what exists. */
function explain(error: CommanderError, command: Command): string {
  const message = error.message
    .replace(/^error: /, "")
    .split("\n")[0]!
    .replace(/\.$/, "");
  return `${message[0]!.toUpperCase()}${message.slice(1)}; there are ${optionNames(command)}.`;
}

function optionNames(command: Command): string {
  return [...command.options.map(({ flags }) => flags), "--help"].join(", ");
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

function requireProfile(name: string, profiles: Record<ProfileName, Profile>): ProfileName {
  if (Object.hasOwn(profiles, name)) return name as ProfileName;
  throw new UsageError(
    `There is no profile called ${JSON.stringify(name)}; there are ${Object.keys(profiles).join(", ")}.`,
  );
}

/** Makes the directory. @throws UsageError when that fails, or when there is something that a run would mix with */
function makeOutput(path: string): string {
  const directory = resolve(path);
  let isEmpty: boolean;
  try {
    makeDirectory(directory);
    isEmpty = readdirSync(directory).length === 0;
  } catch (cause) {
    throw new UsageError(`${directory} cannot be written (${(cause as Error).message}); give another --out.`, {
      cause,
    });
  }
  if (!isEmpty) throw new UsageError(`${directory} is not empty; give a new directory as --out.`);
  return directory;
}

/** The arguments, completed by the seed where chance chose it. */
function repeatable(args: string[], seed: number): string[] {
  const hasSeed = args.some((argument) => argument === "--seed" || argument.startsWith("--seed="));
  return hasSeed ? args : [...args, "--seed", String(seed)];
}

function neededBytes({ warmup, maximumBytes, settings, probe }: Profile): number {
  const filesBytes = FILES_AHEAD * Number(settings.segmentSizeBytes ?? 0);
  return (warmup.maximumBytes + maximumBytes) * FRAMING_FACTOR + filesBytes + 3 * probe.fileSizeBytes;
}

function estimatedTrialMs({ warmup, measureMs }: Profile): number {
  return (warmup.minimumMs + warmup.maximumMs) / 2 + measureMs + TRIAL_OVERHEAD_MS;
}

async function printList(scenarios: readonly Scenario[], profiles: Record<ProfileName, Profile>): Promise<void> {
  console.log("Scenarios");
  for (const { id, question } of scenarios) console.log(`  ${id.padEnd(20)} ${question}`);
  console.log("Engines");
  for (const name of engineNames()) {
    console.log(`  ${name.padEnd(20)} ${(await loadEngine(name)).description}`);
  }
  console.log("Profiles");
  for (const [name, { description }] of Object.entries(profiles)) console.log(`  ${name.padEnd(20)} ${description}`);
}

function printPlan(plan: Plan, profile: Profile, { seed, budget }: Options): void {
  for (const trial of plan.trials) console.log(`${String(trial.order + 1).padStart(5)}  ${printable(trial.trialId)}`);
  const probesMs = 2 * 8 * profile.probe.durationMs;
  const planMs = plan.trials.length * estimatedTrialMs(profile) + probesMs + REPORT_MS;
  const boundMs = budget ?? Math.min(planMs, profile.budgetMs ?? Number.POSITIVE_INFINITY);
  console.log(
    `${plan.trials.length} trials with seed ${seed}, about ${duration(boundMs)} in all. Nothing was written.`,
  );
}

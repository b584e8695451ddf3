/** `npm run bench`: drives engines on the real disk by scenarios and ends with a report. Exit codes stand in the README. */

import { randomBytes } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join, relative, resolve } from "node:path";
import { CommanderError } from "commander";
import { UsageError } from "../engines/command-line.js";
import { printable } from "../engines/printable.js";
import { DiskStorage, EngineLoadError, engineNames, loadEngine } from "../engines/registry.js";
import { makeDirectory } from "../engines/storage/make-directory.js";
import { FORMAT_VERSION, type Run } from "../results/schema.js";
import { RunStore } from "../results/store.js";
import { chooseScenarios, loadContestants, loadProfiles, loadScenarios } from "./catalogue.js";
import { ChildFailedError } from "./child-process.js";
import { clearLeftovers, DataDirectory, requireFitTarget, UnfitTargetError } from "./data-directory.js";
import { describeCode, describeEnvironment, installedPackages } from "./environment.js";
import { compareDeviceWithFio, executeTrials, hasFault, probeDevice } from "./execute.js";
import { searchable, searchRates } from "./objective.js";
import { type Options, optionsOf, parseOptions } from "./options.js";
import { describePayloadFile, PayloadFileError } from "./payload-pool.js";
import { type Plan, PlanError, planRun } from "./plan.js";
import { createProgress, duration } from "./progress.js";
import { Repeats } from "./repeats.js";
import { findInterrupted, requireSame } from "./resume.js";
import type { Profile, ProfileName, Scenario } from "./scenario.js";

const EXIT_USAGE = 2;
const EXIT_ENGINE_FAILED = 4;
const EXIT_INTERRUPTED = 130;
/** In the run's directory, while a command is at work on it. */
const LOCK_FILE = ".lock";
const IMPATIENCE_MS = 2_000;
/** What a trial costs beside its load: starting the process, flushing, reading back, removing. */
const TRIAL_OVERHEAD_MS = 600;
/** Of a budget of the user's own, kept for the searches where there are any. */
const SEARCH_SHARE = 0.5;
const REPORT_MS = 15_000;
/** Of a budget too short for that, reports have this share at most. */
const REPORT_SHARE = 0.25;
/** With a budget of the user's own, time ends a run and not the count of repetitions. */
const BUDGET_REPETITIONS = 100;
/** Space that a trial needs: its payload with framing and indexes, and the files that are allocated in advance. */
const FRAMING_FACTOR = 1.5;
const FILES_AHEAD = 3;

// Whoever reads along may go away (a pipe to head, a closed terminal): the run and its report do not depend on it.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    return await bench(args);
  } catch (error) {
    if (error instanceof CommanderError) return 0;
    const isUsage = [UsageError, UnfitTargetError, PlanError, PayloadFileError, EngineLoadError].some(
      (type) => error instanceof type,
    );
    if (!isUsage) throw error;
    console.error(printable((error as Error).message));
    return EXIT_USAGE;
  }
}

async function bench(args: string[]): Promise<number> {
  const given = parseOptions(args);
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
    scenarios: chooseScenarios(scenarios, options.scenario ?? null, profileName),
    contestants: await loadContestants(options.engine ?? null),
    profileName,
    profile,
    seed: options.seed,
    ...(options.payload === undefined ? {} : { payload: describePayloadFile(resolve(options.payload)) }),
  });
  if (plan.trials.length === 0) {
    throw new UsageError("None of the chosen engines takes part in the chosen scenarios; --list shows which do.");
  }
  if (options.objective !== undefined && searchable(plan.trials).length === 0) {
    const engines = [...new Set(plan.trials.map(({ engine }) => engine))].join(" and ");
    throw new UsageError(
      `--objective finds nothing to search: ${engines} would run as limits only, whose rates nobody asks for; add an engine that the scenarios compare to --engine, or leave --objective out.`,
    );
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
  clearLeftovers(parent, (line) => console.error(printable(line)));
  const startedMs = Date.now();
  const startedAt = new Date(startedMs).toISOString();
  const budgetMs = options.budget ?? profile.budgetMs;
  const spentMs = resumed === null ? 0 : spentBefore(resumed.run);
  const runId = `${startedAt.slice(0, 19).replaceAll(":", "-")}Z-${randomBytes(2).toString("hex")}`;
  const outputDirectory = resumed?.directory ?? makeOutput(options.out ?? `results/runs/${runId}`);
  keepForThisProcess(outputDirectory);
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
          loadAverageAfter: [],
          agreement: null,
          budgetMs,
          allowsNeighbours: options.allowNeighbours ?? false,
          unresolved: [],
          scenarios: [...plan.scenarios],
          plannedTrialCount: plan.trials.length,
        });

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
  const dataDirectory = new DataDirectory(parent);
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
    repeats: new Repeats(store.run, (line) => progress.note(line)),
    deviceStatPath: mount.statPath,
    environment,
    code,
    signal: interruption.signal,
  };
  let isSearched = true;
  let obstacle: string | null = null;
  if (options.objective !== undefined) {
    progress.note(
      options.budget === undefined
        ? "The searches come after the trials, in time of their own."
        : `${SEARCH_SHARE * 100} % of the budget are kept for the searches.`,
    );
  }
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
    const deadlineMs =
      budgetMs === null
        ? Number.POSITIVE_INFINITY
        : startedMs - spentMs + budgetMs - probeMs - Math.min(REPORT_MS, REPORT_SHARE * budgetMs);
    const searchesShare = options.objective === undefined || options.budget === undefined ? 0 : SEARCH_SHARE;
    const budget = {
      deadlineMs: deadlineMs - searchesShare * Math.max(0, deadlineMs - Date.now()),
      maximumRepetitions: options.budget === undefined ? profile.repetitions : BUDGET_REPETITIONS,
    };
    await executeTrials(plan.trials, execution, budgetMs === null ? null : budget);
    if (options.objective !== undefined) {
      const until = options.budget === undefined ? Number.POSITIVE_INFINITY : deadlineMs;
      const searched = await searchRates(plan.trials, options.objective, execution, until);
      isSearched = searched.isWhole;
    }
    progress.note("Probing the device again …");
    const loadAverageAfter = loadavg();
    store.setAfter({ probeAfter: (await probeDevice(execution, options.seed)).results, loadAverageAfter });
  } catch (error) {
    obstacle = interruption.signal.aborted ? null : obstacleOf(error);
    if (obstacle === null && !interruption.signal.aborted) throw error;
  } finally {
    progress.end();
    removeOrTell(dataDirectory);
  }
  // A Ctrl-C from here on takes nothing from the run: the reports are written all the same.
  const isInterrupted = interruption.signal.aborted;
  const outcome = obstacle !== null ? EXIT_USAGE : hasFault(store.run) ? EXIT_ENGINE_FAILED : 0;
  if (obstacle !== null) console.error(printable(`The run stopped: ${obstacle}.`));
  const isWritten = await conclude(store, isInterrupted || obstacle !== null || !isSearched);
  if (isInterrupted) console.log("Interrupted: the report is partial.");
  else if (isWritten && store.run.status === "partial" && obstacle === null)
    console.log("The time was up before everything that was asked for was done: the report is partial.");
  if (store.run.status === "partial")
    console.log(`Go on with it: npm run bench -- --resume ${quoted(relative(process.cwd(), outputDirectory))}`);
  if (isInterrupted) return EXIT_INTERRUPTED;
  return isWritten ? outcome : EXIT_USAGE;
}

/** Two commands that resume one run would write the same files. @throws UsageError when another has the directory */
function keepForThisProcess(outputDirectory: string): void {
  const path = join(outputDirectory, LOCK_FILE);
  // Held until the process ends, however it does.
  if (new DiskStorage().lock(path) === null) {
    throw new UsageError(`Another command is at work on ${outputDirectory}: wait until it has ended.`);
  }
  process.once("exit", () => rmSync(path, { force: true }));
}

/**
 * Ends the run in its files, tells its figures and writes its reports. What cannot be written is told in a sentence, with
 * where the results are.
 * @returns whether all was written
 */
async function conclude(store: RunStore, isCutShort: boolean): Promise<boolean> {
  const { directory } = store;
  const name = quoted(relative(process.cwd(), directory));
  try {
    store.finish({ interrupted: isCutShort });
  } catch (error) {
    const obstacle = obstacleOf(error);
    if (obstacle === null) throw error;
    console.error(printable(`${directory} cannot be written (${obstacle}); the trials stored there so far are kept.`));
    return false;
  }
  // Loaded only now: charts are slow to load, and no trial needs them.
  const { terminalTable, writeReports } = await import("../reports/index.js");
  console.log(terminalTable(store.run));
  try {
    await writeReports(store.run, directory);
  } catch (error) {
    const obstacle = obstacleOf(error);
    if (obstacle === null) throw error;
    console.error(
      printable(
        `The run is stored, but not its report (${obstacle}): npm run report -- ${name} --out DIRECTORY makes it.`,
      ),
    );
    return false;
  }
  console.log(`Report: ${printable(relative(process.cwd(), resolve(directory, "report.html")))}`);
  return true;
}

/** What outside the program stands in a run's way, without a full stop; null if the fault is ours. */
function obstacleOf(error: unknown): string | null {
  const { message, code, syscall } = error as NodeJS.ErrnoException;
  const isExpected = [UnfitTargetError, PayloadFileError, ChildFailedError].some((type) => error instanceof type);
  return isExpected || (code !== undefined && syscall !== undefined) ? message.replace(/\.$/, "") : null;
}

function removeOrTell(dataDirectory: DataDirectory): void {
  try {
    dataDirectory.remove();
  } catch (error) {
    console.error(printable(`${dataDirectory.path} is left behind: ${(error as Error).message}`));
  }
}

/** What a run has spent so far, in milliseconds; the device's probe is not counted. */
function spentBefore({ trials, searches }: Run): number {
  const all = [...trials, ...searches.flatMap(({ steps }) => steps.map(({ trial }) => trial))];
  return all.reduce((sum, { durationNs }) => sum + durationNs / 1e6, 0);
}

/** As a shell takes it as one word. */
function quoted(path: string): string {
  const text = path === "" ? "." : path;
  return printable(/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
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
  for (const { id, question, profiles: only } of scenarios) {
    console.log(`  ${id.padEnd(20)} ${question}${only === undefined ? "" : ` (${only.join(" and ")} only)`}`);
  }
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

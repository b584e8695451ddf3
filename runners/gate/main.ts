/** `npm run gate`: decides whether the working tree, an engine or a setting is slower than another. See README.md. */
import { randomBytes } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { CommanderError } from "commander";
import { UsageError } from "../../engines/command-line.js";
import { printable } from "../../engines/printable.js";
import { EngineLoadError } from "../../engines/registry.js";
import { makeDirectory } from "../../engines/storage/make-directory.js";
import {
  gateMarkdown,
  gateTerminal,
  githubAnnotations,
  historyTerminal,
  writeGateReports,
  writeHistoryPage,
} from "../../reports/index.js";
import {
  GATE_FORMAT_VERSION,
  type GateBaseline,
  type GateResult,
  type GateSamples,
  type GateSide,
} from "../../results/gate.js";
import {
  loadBaseline,
  requireBaselineName,
  saveBaseline,
  UnreadableBaselineError,
} from "../../results/gate-baseline.js";
import {
  analyseHistory,
  appendHistory,
  comparableRuns,
  loadHistory,
  requireAppendable,
  UnreadableHistoryError,
} from "../../results/gate-history.js";
import { clearLeftovers, DataDirectory, requireFitTarget, UnfitTargetError } from "../data-directory.js";
import { describeEnvironment } from "../environment.js";
import type { Mount } from "../mount.js";
import { compareWithBaseline, sampleAlone } from "./baseline.js";
import { type Builds, forgetLostWorktrees, layOutBuilds, resolveCommit, SAME_BUILD } from "./builds.js";
import { type GateFindings, type GateSetup, MOST_BLOCKS, runGate } from "./gate.js";
import { REAL_INSTRUMENTS } from "./measure.js";
import { type Options, parseOptions } from "./options.js";
import { findDuetProcessors } from "./processors.js";
import { runSelfTest, type SelfTestEntry, selfTestTable } from "./self-test.js";
import { checkSettings, chooseSubjects, describeSide, presentIn, type SideOptions, whatIsMissing } from "./sides.js";
import { type GateProfile, PROFILES } from "./workloads.js";

const EXIT_USAGE = 2;
const EXIT_UNFIT = 3;
const EXIT_FAULT = 70;
const EXIT_INTERRUPTED = 130;
const INTERRUPTIONS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Space that the largest trial needs, with room for files made in advance. */
const NEEDED_BYTES = 2e9;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    return await gate(args);
  } catch (error) {
    if (error instanceof CommanderError) return 0;
    const usage = [UsageError, EngineLoadError, UnreadableBaselineError, UnreadableHistoryError];
    const isUsage = usage.some((type) => error instanceof type);
    const isUnfit = error instanceof UnfitTargetError;
    // A fault of the gate itself must not read as a regression, which is what Node's own exit code 1 would say.
    console.error(isUsage || isUnfit ? printable((error as Error).message) : error);
    return isUsage ? EXIT_USAGE : isUnfit ? EXIT_UNFIT : EXIT_FAULT;
  }
}

async function gate(args: string[]): Promise<number> {
  const { mode, options } = parseOptions(args);
  if (mode === "history") return showHistory(options);
  if (options.appendHistory !== undefined) requireAppendable(options.appendHistory);
  const workshop = await openWorkshop(options, args);
  try {
    if (mode === "self-test") return await selfTest(workshop);
    if (mode === "save-baseline") return await storeBaseline(workshop);
    return await judge(workshop, mode === "baseline" ? againstBaseline : againstOther);
  } catch (error) {
    if (!workshop.signal.aborted) throw error;
    console.error("Interrupted: nothing was decided.");
    return EXIT_INTERRUPTED;
  } finally {
    await workshop.close();
  }
}

/** What a run works with; closing it leaves nothing behind but the results. */
interface Workshop {
  readonly options: Options;
  readonly args: string[];
  readonly profile: GateProfile;
  readonly startedAt: Date;
  readonly budgetMs: number;
  readonly mount: Mount;
  readonly signal: AbortSignal;
  readonly outputDirectory: string;
  readonly tell: (line: string) => void;
  /** The builds of both sides: the working tree's for both unless a commit is named. */
  layOut(ref: string | null): Promise<Builds>;
  setup(parts: Pick<GateSetup, "subjects" | "missing"> & { builds: Builds; sides: Sides }): GateSetup;
  close(): Promise<void>;
}

interface Sides {
  readonly reference: SideOptions;
  readonly candidate: SideOptions;
}

/** @throws UsageError, UnfitTargetError */
async function openWorkshop(options: Options, args: string[]): Promise<Workshop> {
  const parent = resolve(options.dir);
  if (!existsSync(parent)) throw new UsageError(`${parent} does not exist; create it, or give another --dir.`);
  const mount = await requireFitTarget(parent, { freeBytes: NEEDED_BYTES, anyFilesystem: options.anyFilesystem });
  const startedAt = new Date();
  const name = `${startedAt.toISOString().slice(0, 19).replaceAll(":", "-")}Z-gate-${randomBytes(2).toString("hex")}`;
  const outputDirectory = resolve(options.out ?? `results/runs/${name}`);
  makeOutput(outputDirectory);
  const profile = PROFILES[options.profile]!;
  const budgetMs = options.budgetMs ?? profile.budgetMs;
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  for (const name of INTERRUPTIONS) process.on(name, interrupt);
  const { signal } = interruption;
  const tell = (line: string) => void process.stderr.write(`${printable(line)}\n`);
  for (const directory of new Set([tmpdir(), parent])) clearLeftovers(directory, tell);
  await forgetLostWorktrees();
  const scratch = new DataDirectory(tmpdir());
  const dataDirectory = new DataDirectory(parent);
  const duetProcessors = await findDuetProcessors();
  let builds: Builds = SAME_BUILD;
  return {
    options,
    args,
    profile,
    startedAt,
    budgetMs,
    mount,
    signal,
    outputDirectory,
    tell,
    async layOut(ref) {
      if (ref === null) return SAME_BUILD;
      const commit = await resolveCommit(ref);
      tell(`Building ${ref} …`);
      builds = await layOutBuilds(scratch.path, commit, signal);
      return builds;
    },
    setup: ({ builds, sides, subjects, missing }) => ({
      bench: {
        builds,
        settings: {
          reference: sides.reference.settings,
          guard: sides.reference.settings,
          candidate: sides.candidate.settings,
        },
        dataDirectory,
        duetProcessors,
        scratchDirectory: scratch.path,
        signal,
      },
      subjects,
      workloads: profile.workloads,
      seed: options.seed,
      deadlineMs: startedAt.getTime() + budgetMs,
      mostBlocks: MOST_BLOCKS,
      deviceStatPath: mount.statPath,
      missing,
      tell,
      instruments: REAL_INSTRUMENTS,
    }),
    async close() {
      for (const name of INTERRUPTIONS) process.off(name, interrupt);
      dataDirectory.remove();
      await builds.release();
      scratch.remove();
      if (readdirSync(outputDirectory).length === 0) rmdirSync(outputDirectory);
    },
  };
}

/** @throws UsageError when it cannot be made, or holds something that the results would mix with */
function makeOutput(directory: string): void {
  try {
    makeDirectory(directory);
  } catch (cause) {
    throw new UsageError(`${directory} cannot be made (${(cause as Error).message}); give another --out.`, { cause });
  }
  if (readdirSync(directory).length > 0) {
    throw new UsageError(`${directory} is not empty; give a new directory as --out.`);
  }
}

interface Judgement {
  readonly reference: GateSide;
  readonly candidate: GateSide;
  readonly findings: GateFindings;
}

/** Runs a comparison and tells its result in every form. @returns the exit code */
async function judge(workshop: Workshop, compare: (workshop: Workshop) => Promise<Judgement>): Promise<number> {
  const { options, args, startedAt, budgetMs, mount, outputDirectory } = workshop;
  const { reference, candidate, findings } = await compare(workshop);
  const result: GateResult = {
    formatVersion: GATE_FORMAT_VERSION,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    command: withoutOutput(args),
    profile: options.profile,
    seed: options.seed,
    budgetMs,
    reference,
    candidate,
    environment: await describeEnvironment(mount, NEEDED_BYTES),
    ...findings,
  };
  await writeGateReports(result, outputDirectory);
  if (options.appendHistory !== undefined) appendHistory(options.appendHistory, result);
  console.log(gateTerminal(result));
  console.log(`Report: ${printable(relative(process.cwd(), join(outputDirectory, "gate.html")))}`);
  if (process.env.GITHUB_ACTIONS === "true") console.log(githubAnnotations(result).join("\n"));
  if (process.env.GITHUB_STEP_SUMMARY) appendFileSync(process.env.GITHUB_STEP_SUMMARY, gateMarkdown(result));
  return result.exitCode;
}

/** Repeating a run needs a new place for its results. */
function withoutOutput(args: readonly string[]): string[] {
  return args.filter((argument, at) => !/^--out(=|$)/.test(argument) && args[at - 1] !== "--out");
}

async function againstOther(workshop: Workshop): Promise<Judgement> {
  const { against, engine, againstEngine, set, againstSet } = workshop.options;
  const sides: Sides = {
    reference: { ref: against ?? null, engine: againstEngine ?? engine ?? null, settings: againstSet },
    candidate: { ref: null, engine: engine ?? null, settings: set },
  };
  const reference = await describeSide(sides.reference);
  const candidate = await describeSide(sides.candidate);
  // What cannot be compared is refused before anything is built.
  const chosen = await chooseSubjects(sides);
  await checkSettings(chosen, sides.candidate.settings, "candidate");
  await checkSettings(chosen, sides.reference.settings, "reference");
  const builds = await workshop.layOut(sides.reference.ref);
  const subjects = await presentIn(builds.reference, chosen, sides.reference);
  const missing = await whatIsMissing(builds);
  return { reference, candidate, findings: await runGate(workshop.setup({ builds, sides, subjects, missing })) };
}

async function againstBaseline(workshop: Workshop): Promise<Judgement> {
  const { options, mount } = workshop;
  const baseline = loadBaseline(options.baseline!);
  if (baseline.profile !== options.profile) {
    throw new UsageError(`The baseline is of profile ${baseline.profile}; give --profile ${baseline.profile}.`);
  }
  const { candidate, setup } = await alone(workshop);
  const samples = options.engine === undefined ? baseline.samples : samplesOf(baseline, setup.subjects[0]!.name);
  const { fingerprint } = await describeEnvironment(mount, NEEDED_BYTES);
  const isSameMachine = fingerprint === baseline.environment.fingerprint;
  const label = `baseline ${baseline.name} (${baseline.side.label}, ${baseline.storedAt.slice(0, 10)})`;
  const findings = await compareWithBaseline(setup, { ...baseline, samples }, isSameMachine);
  return { reference: { ...baseline.side, label }, candidate, findings };
}

/** What a baseline of all engines has of the one asked for, and of `raw`. @throws UsageError when that is nothing */
function samplesOf({ name, samples }: GateBaseline, engine: string): GateSamples {
  const of = <T>(values: Readonly<Record<string, T>>, engines: readonly string[]): Record<string, T> =>
    Object.fromEntries(Object.entries(values).filter(([id]) => engines.includes(id.split("/")[0]!)));
  const counters = of(samples.counters, [engine]);
  if (Object.keys(counters).length === 0) {
    const known = [...new Set(Object.keys(samples.counters).map((id) => id.split("/")[0]))].join(", ");
    throw new UsageError(`The baseline ${name} has no engine called ${JSON.stringify(engine)}; it has ${known}.`);
  }
  return { counters, figures: of(samples.figures, [engine, "raw"]), rates: of(samples.rates, [engine]) };
}

async function storeBaseline(workshop: Workshop): Promise<number> {
  const { options, args, startedAt, mount } = workshop;
  const name = options.saveBaseline!;
  requireBaselineName(name);
  const { candidate, setup } = await alone(workshop);
  const path = saveBaseline({
    formatVersion: GATE_FORMAT_VERSION,
    name,
    storedAt: startedAt.toISOString(),
    command: withoutOutput(args),
    profile: options.profile,
    side: candidate,
    environment: await describeEnvironment(mount, NEEDED_BYTES),
    samples: await sampleAlone(setup),
  });
  console.log(`Baseline: ${printable(relative(process.cwd(), path))}`);
  return 0;
}

/** The working tree's engines by themselves. */
async function alone(workshop: Workshop): Promise<{ candidate: GateSide; setup: GateSetup }> {
  const { engine, set } = workshop.options;
  const side: SideOptions = { ref: null, engine: engine ?? null, settings: set };
  const sides = { reference: side, candidate: side };
  const subjects = await chooseSubjects(sides);
  await checkSettings(subjects, set, "candidate");
  const setup = workshop.setup({ builds: SAME_BUILD, sides, subjects, missing: [] });
  return { candidate: await describeSide(side), setup };
}

/** @throws UsageError */
async function selfTest(workshop: Workshop): Promise<number> {
  const { options, budgetMs, startedAt, outputDirectory } = workshop;
  const { setup } = await alone(workshop);
  if (setup.workloads.every(({ kind }) => kind !== "duet")) {
    throw new UsageError(
      `The profile ${options.profile} times nothing that a self-test could slow down; give another.`,
    );
  }
  const logFile = join(outputDirectory, "self-test.jsonl");
  const entries: SelfTestEntry[] = [];
  try {
    await runSelfTest({
      setup,
      engines: setup.subjects.map(({ name }) => name),
      slowDowns: options.inject,
      budgetMs,
      untilMs: startedAt.getTime() + options.minutes * 60_000,
      finished: (entry) => {
        entries.push(entry);
        appendFileSync(logFile, `${JSON.stringify(entry)}\n`);
      },
    });
  } finally {
    if (entries.length > 0) {
      console.log(selfTestTable(entries));
      console.log(`Every gate: ${printable(relative(process.cwd(), logFile))}`);
    }
  }
  return 0;
}

async function showHistory(options: Options): Promise<number> {
  const history = loadHistory(options.history!);
  const histories = analyseHistory(history);
  const leftOut = history.length - comparableRuns(history).length;
  console.log(historyTerminal(histories));
  if (leftOut > 0) console.log(`Left out: ${leftOut} of ${history.length} runs, of other machines or settings.`);
  const path = await writeHistoryPage(histories, resolve(options.out ?? "results/runs"));
  console.log(`Charts: ${printable(relative(process.cwd(), path))}`);
  return 0;
}

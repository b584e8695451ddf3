import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { UsageError } from "../../engines/command-line.js";
import { engineNames, loadEngine } from "../../engines/registry.js";
import type { GateSide } from "../../results/gate.js";
import { describeCode } from "../environment.js";
import type { Arm } from "./blocks.js";
import { resolveCommit, scenariosOf } from "./builds.js";
import type { Subject } from "./measure.js";

/** What the command line says of one side. */
export interface SideOptions {
  /** A commit of this repository; null: the working tree. */
  readonly ref: string | null;
  /** Name or module path; null: all engines that are no baseline. */
  readonly engine: string | null;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** They are the harness's own limits, not engines to gate. */
const BASELINES = ["null", "raw"];

/** @throws UsageError */
export async function describeSide({ ref, engine, settings }: SideOptions): Promise<GateSide> {
  const code = await describeCode();
  const commit = ref === null ? code.commit : await resolveCommit(ref);
  const build = ref === null ? "working tree" : `${ref} (${commit!.slice(0, 7)})`;
  const words = [build, ...(engine === null ? [] : [engine]), ...Object.entries(settings).map(setting)];
  return { label: words.join(", "), commit, engine, settings: settings as GateSide["settings"] };
}

function setting([name, value]: [string, unknown]): string {
  return `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`;
}

/** The engines to compare, as the working tree has them: the one that each side names, or those of the project. @throws EngineLoadError */
export async function chooseSubjects({
  candidate,
  reference,
}: Record<"reference" | "candidate", SideOptions>): Promise<Subject[]> {
  if (candidate.engine !== null) {
    const [now, before] = [sourceOf(candidate.engine), sourceOf(reference.engine ?? candidate.engine)];
    const { name } = await loadEngine(now);
    await loadEngine(before);
    return [{ name, sources: { reference: before, guard: before, candidate: now } }];
  }
  return engineNames()
    .filter((name) => !BASELINES.includes(name))
    .map((name) => ({ name, sources: { reference: name, guard: name, candidate: name } }));
}

/**
 * Those of them that the build of a commit has, too.
 * @param build its directory
 * @throws UsageError when it lacks the one that was named
 */
export async function presentIn(
  build: string,
  subjects: readonly Subject[],
  { ref, engine }: SideOptions,
): Promise<Subject[]> {
  if (ref === null) return [...subjects];
  const before = await engineNamesOf(build);
  const present = subjects.filter(({ sources }) => before.includes(sources.reference));
  if (engine !== null && present.length === 0) {
    const source = subjects[0]!.sources.reference;
    throw new UsageError(
      `${ref} has no engine called ${JSON.stringify(source)}; it has ${before.join(", ")}. Modules are compared with --against-engine.`,
    );
  }
  return present;
}

/** Refuses settings that an engine does not know, before anything runs. @throws UsageError */
export async function checkSettings(
  subjects: readonly Subject[],
  settings: Readonly<Record<string, unknown>>,
  arm: Arm,
): Promise<void> {
  for (const { sources } of subjects) {
    const { name, settingsSchema } = await loadEngine(sources[arm]);
    const checked = settingsSchema.safeParse(settings);
    if (checked.success) continue;
    const { path, message } = checked.error.issues[0]!;
    throw new UsageError(`The engine ${name} does not take these settings (${[...path, message].join(": ")}).`);
  }
}

/** What the reference's build has and the candidate's lacks: one sentence each. */
export async function whatIsMissing(builds: { reference: string; candidate: string }): Promise<string[]> {
  const missing = (kind: string, before: readonly string[], now: readonly string[]) =>
    before
      .filter((name) => !now.includes(name))
      .map((name) => `The ${kind} ${name} was there before and is missing now.`);
  return [
    ...missing("scenario", scenariosOf(builds.reference), scenariosOf(builds.candidate)),
    ...missing("engine", await engineNamesOf(builds.reference), engineNames()),
  ];
}

async function engineNamesOf(build: string): Promise<readonly string[]> {
  const registry = await import(pathToFileURL(join(build, "dist/engines/registry.js")).href);
  return registry.engineNames();
}

/** A module's path from the working directory; a name or an address as it is. */
function sourceOf(engine: string): string {
  if (engine.startsWith("file:")) return engine;
  return /^\.{0,2}\//.test(engine) || engine.endsWith(".js") ? resolve(engine) : engine;
}

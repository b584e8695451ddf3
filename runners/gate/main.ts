/** `npm run gate`: decides whether the working tree, an engine or a setting is slower than another. See README.md. */
import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { Command, CommanderError, Option } from "commander";
import { EngineLoadError } from "../../engines/registry.js";
import { GATE_FORMAT_VERSION, type GateResult } from "../../results/gate.js";
import { UsageError } from "../catalogue.js";
import { DataDirectory, requireFitTarget, UnfitTargetError } from "../data-directory.js";
import { describeEnvironment } from "../environment.js";
import { printable } from "../terminal.js";
import { layOutBuilds, resolveCommit, SAME_BUILD } from "./builds.js";
import { runGate } from "./gate.js";
import { checkSettings, chooseSubjects, describeSide, type SideOptions, whatIsMissing } from "./sides.js";
import { type GateProfile, PROFILES } from "./workloads.js";

const EXIT_USAGE = 2;
const EXIT_UNFIT = 3;
const EXIT_INTERRUPTED = 130;
/** Space that the largest trial needs, with room for files made in advance. */
const NEEDED_BYTES = 2e9;

interface Options {
  against?: string;
  engine?: string;
  againstEngine?: string;
  set: Record<string, unknown>;
  againstSet: Record<string, unknown>;
  profile: string;
  budget?: number;
  dir: string;
  seed: number;
  anyFilesystem: boolean;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    return await gate(args);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const isUsage = error instanceof UsageError || error instanceof EngineLoadError;
    if (!isUsage && !(error instanceof UnfitTargetError)) throw error;
    console.error(printable((error as Error).message));
    return isUsage ? EXIT_USAGE : EXIT_UNFIT;
  }
}

async function gate(args: string[]): Promise<number> {
  const options = parseArguments(args);
  const profile = requireProfile(options.profile);
  const sides = chooseSides(options);
  if (!existsSync(options.dir))
    throw new UsageError(`${resolve(options.dir)} does not exist; create it, or give another --dir.`);
  const mount = await requireFitTarget(options.dir, { freeBytes: NEEDED_BYTES, anyFilesystem: options.anyFilesystem });

  const startedAt = new Date();
  const budgetMs = options.budget ?? profile.budgetMs;
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  const { signal } = interruption;
  const scratch = new DataDirectory(tmpdir());
  const dataDirectory = new DataDirectory(options.dir);
  const tell = (line: string) => process.stderr.write(`${printable(line)}\n`);
  let builds = SAME_BUILD;
  try {
    const reference = await describeSide(sides.reference);
    const candidate = await describeSide(sides.candidate);
    if (options.against !== undefined) {
      tell(`Building ${reference.label} …`);
      builds = await layOutBuilds(scratch.path, await resolveCommit(options.against), signal);
    }
    const subjects = await chooseSubjects(sides, builds.reference);
    const findings = await runGate({
      bench: {
        builds,
        settings: {
          reference: sides.reference.settings,
          guard: sides.reference.settings,
          candidate: sides.candidate.settings,
        },
        dataDirectory,
        scratchDirectory: scratch.path,
        signal,
      },
      subjects,
      workloads: profile.workloads,
      seed: options.seed,
      deadlineMs: startedAt.getTime() + budgetMs,
      deviceStatPath: mount.statPath,
      missing: await whatIsMissing(builds),
      tell,
    });
    const result: GateResult = {
      formatVersion: GATE_FORMAT_VERSION,
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
      command: args,
      profile: options.profile,
      seed: options.seed,
      budgetMs,
      reference,
      candidate,
      environment: await describeEnvironment(mount, NEEDED_BYTES),
      ...findings,
    };
    console.log(JSON.stringify(result, null, 1));
    return result.exitCode;
  } catch (error) {
    if (!signal.aborted) throw error;
    console.error("Interrupted: nothing was decided.");
    return EXIT_INTERRUPTED;
  } finally {
    dataDirectory.remove();
    await builds.release();
    scratch.remove();
  }
}

function chooseSides(options: Options): { reference: SideOptions; candidate: SideOptions } {
  const { against, engine, againstEngine, set, againstSet } = options;
  if (against === undefined && againstEngine === undefined && Object.keys({ ...set, ...againstSet }).length === 0) {
    throw new UsageError(
      "Say what to compare with: --against REF, --against-engine ENGINE, --set or --against-set, or --baseline FILE.",
    );
  }
  if (againstEngine !== undefined && engine === undefined) {
    throw new UsageError("--against-engine goes with --engine: name both engines.");
  }
  return {
    reference: { ref: against ?? null, engine: againstEngine ?? engine ?? null, settings: againstSet },
    candidate: { ref: null, engine: engine ?? null, settings: set },
  };
}

function requireProfile(name: string): GateProfile {
  if (Object.hasOwn(PROFILES, name)) return PROFILES[name]!;
  throw new UsageError(
    `There is no gate profile called ${JSON.stringify(name)}; there are ${Object.keys(PROFILES).join(", ")}.`,
  );
}

function parseArguments(args: string[]): Options {
  const command = new Command("npm run gate --")
    .description("Decides whether the working tree, an engine or a setting is slower than another one.")
    .option("--against <ref>", "compare the working tree with this commit of the repository")
    .option("--engine <engine>", "gate this engine only: a name, or the path of a module")
    .option("--against-engine <engine>", "compare --engine with this engine")
    .addOption(settingOption("--set <name=value>", "a setting of the engine, as JSON or a word; may be repeated"))
    .addOption(settingOption("--against-set <name=value>", "the same for what is compared with"))
    .option("--profile <name>", Object.keys(PROFILES).join(" or "), "gate")
    .option("--budget <time>", "be done within this time, such as 90s or 8m", parseTime)
    .option("--dir <directory>", "measure the disk that this existing directory lies on", ".")
    .option("--seed <n>", "of payloads, arrivals and order", parseSeed, randomInt(2 ** 31))
    .option("--any-filesystem", "measure even on what is no disk (tmpfs, overlay, network)", false)
    .helpOption("--help", "show this help, and end")
    .addHelpText(
      "after",
      "\nExit codes: 0 no regression, 1 regression, 2 usage, 3 inconclusive or unfit environment, 4 an engine or its data failed.",
    )
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  try {
    command.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode === 0) throw error;
    const message = error.message
      .replace(/^error: /, "")
      .split("\n")[0]!
      .replace(/\.$/, "");
    const names = command.options.map(({ long }) => long).join(", ");
    throw new UsageError(`${message[0]!.toUpperCase()}${message.slice(1)}; there are ${names}.`);
  }
  return command.opts<Options>();
}

function settingOption(flags: string, description: string): Option {
  return new Option(flags, description).default({}).argParser((text: string, before: Record<string, unknown>) => {
    const [, path, value] = /^([A-Za-z][\w.]*)=(.*)$/s.exec(text) ?? [];
    if (path === undefined) throw new UsageError(`${JSON.stringify(text)} is no setting; write it as name=value.`);
    return withSetting(before, path.split("."), wordOrJson(value!));
  });
}

/** `a.b` = 1 into { a: { b: 1 } }, beside what is there. */
function withSetting(
  settings: Record<string, unknown>,
  [name, ...rest]: string[],
  value: unknown,
): Record<string, unknown> {
  if (rest.length === 0) return { ...settings, [name!]: value };
  return { ...settings, [name!]: withSetting((settings[name!] ?? {}) as Record<string, unknown>, rest, value) };
}

function wordOrJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function parseTime(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(text) ?? [];
  const ms = Number(amount) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as "s" | "m" | "h"];
  if (!(ms > 0)) throw new UsageError(`The time ${JSON.stringify(text)} is not one such as 90s, 8m or 1h.`);
  return ms;
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError(`The seed ${JSON.stringify(text)} is not a whole number from 0 on.`);
  }
  return seed;
}
void checkSettings;

import { randomInt } from "node:crypto";
import { Command, Option } from "commander";
import { parseCommand, UsageError } from "../../engines/command-line.js";
import { PROFILES } from "./workloads.js";

export interface Options {
  readonly against?: string;
  readonly baseline?: string;
  readonly saveBaseline?: string;
  readonly engine?: string;
  readonly againstEngine?: string;
  readonly set: Record<string, unknown>;
  readonly againstSet: Record<string, unknown>;
  readonly profile: string;
  readonly budgetMs?: number;
  readonly selfTest: boolean;
  readonly minutes: number;
  /** Fractions. */
  readonly inject: readonly number[];
  readonly history?: string;
  readonly appendHistory?: string;
  readonly dir: string;
  readonly out?: string;
  readonly seed: number;
  readonly anyFilesystem: boolean;
}

/** What the command line asks for. */
export type Mode = "compare" | "baseline" | "save-baseline" | "self-test" | "history";

const DEFAULT_MINUTES = 60;
/** As many gates of A against A as of all slow-downs together. */
const DEFAULT_SLOW_DOWNS = [0, 0.03, 0, 0.05, 0, 0.1, 0, 0.2];

/** @throws UsageError, in one sentence; CommanderError with exit code 0 after `--help` */
export function parseOptions(args: string[]): { mode: Mode; options: Options } {
  const command = new Command("npm run gate --")
    .description("Decides whether the working tree, an engine or a setting is slower than another one.")
    .option("--against <ref>", "compare the working tree with this commit of the repository")
    .option("--baseline <file>", "compare with a stored baseline of this machine")
    .option("--save-baseline <name>", "store a baseline as results/baselines/<name>.json")
    .option("--engine <engine>", "gate this engine only: a name, or the path of a module")
    .option("--against-engine <engine>", "compare --engine with this one")
    .addOption(settingOption("--set <name=value>", "a setting of the engine, as JSON or a word; may be repeated"))
    .addOption(settingOption("--against-set <name=value>", "the same for what is compared with"))
    .option("--profile <name>", describeProfiles(), "gate")
    .addOption(
      new Option(
        "--budget <time>",
        `be done within this time, such as 90s or 8m (default: ${describeBudgets()})`,
      ).argParser(parseTime),
    )
    .option("--self-test", "measure this machine's false alarms and power", false)
    .option("--minutes <n>", "for how long the self-test runs", parseMinutes, DEFAULT_MINUTES)
    .addOption(
      new Option("--inject <percents>", "the slow-downs that it injects in turn, separated by commas; 0 is A against A")
        .argParser(parsePercents)
        .default(DEFAULT_SLOW_DOWNS, "0,3,0,5,0,10,0,20"),
    )
    .option("--history <file>", "show the changes of level in a history of gated runs")
    .option("--append-history <file>", "add this run to a history")
    .option("--dir <directory>", "measure the disk that this existing directory lies on", ".")
    .option("--out <directory>", "where the results go (default: results/runs/<time>-gate-<id>)")
    .addOption(
      new Option("--seed <n>", "of payloads, arrivals and order")
        .argParser(parseSeed)
        .default(randomInt(2 ** 31), "a random one"),
    )
    .option("--any-filesystem", "measure even on what is no disk (tmpfs, overlay, network)", false)
    .addHelpText(
      "after",
      "\nExit codes: 0 no regression, 1 regression, 2 usage, 3 inconclusive or unfit environment, 4 an engine or its data failed, 70 a fault of the gate, 130 interrupted.",
    );
  parseCommand(command, args);
  const { budget, ...given } = command.opts<Omit<Options, "budgetMs"> & { budget?: number }>();
  const options: Options = { ...given, ...(budget === undefined ? {} : { budgetMs: budget }) };
  if (!Object.hasOwn(PROFILES, options.profile)) {
    const names = Object.keys(PROFILES).join(", ");
    throw new UsageError(`There is no gate profile called ${JSON.stringify(options.profile)}; there are ${names}.`);
  }
  return { mode: modeOf(options), options };
}

function modeOf(options: Options): Mode {
  const hasSettings = Object.keys({ ...options.set, ...options.againstSet }).length > 0;
  const comparing = options.against ?? options.againstEngine ?? (hasSettings || null);
  const asked: [Mode, string, unknown][] = [
    ["self-test", "--self-test", options.selfTest || null],
    ["baseline", "--baseline", options.baseline],
    ["save-baseline", "--save-baseline", options.saveBaseline],
    ["history", "--history", options.history],
  ];
  const alone = asked.filter(([, , value]) => value != null);
  if (alone.length > 1) throw new UsageError(`${alone.map(([, name]) => name).join(" and ")} do not go together.`);
  if (options.againstEngine !== undefined && options.engine === undefined) {
    throw new UsageError("--against-engine goes with --engine: name both engines.");
  }
  const [mode, name] = alone[0] ?? ["compare", ""];
  const other = options.against ?? options.againstEngine;
  if (mode !== "compare" && other !== undefined)
    throw new UsageError(`${name} does not go with --against or --against-engine.`);
  if (mode !== "compare" && Object.keys(options.againstSet).length > 0) {
    throw new UsageError(`${name} does not go with --against-set: there is no second side to set.`);
  }
  if (mode !== "compare" && mode !== "baseline" && options.appendHistory !== undefined) {
    throw new UsageError(`${name} does not go with --append-history: it compares nothing.`);
  }
  if (mode === "compare" && comparing === null) {
    throw new UsageError(
      "Say what to compare with: --against REF, --against-engine ENGINE, --set, --against-set or --baseline FILE.",
    );
  }
  return mode;
}

function describeProfiles(): string {
  return Object.entries(PROFILES)
    .map(([name, { description }]) => `${name}: ${description}`)
    .join("; ");
}

function describeBudgets(): string {
  return Object.entries(PROFILES)
    .map(([name, { budgetMs }]) => `${name}: ${budgetMs / 60_000}m`)
    .join("; ");
}

function settingOption(flags: string, description: string): Option {
  return new Option(flags, description)
    .default({}, "none")
    .argParser((text: string, before: Record<string, unknown>) => {
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
  const inner = (settings[name!] ?? {}) as Record<string, unknown>;
  return { ...settings, [name!]: withSetting(inner, rest, value) };
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

function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0 && Number.isFinite(minutes))) {
    throw new UsageError(`${JSON.stringify(text)} is no number of minutes above 0.`);
  }
  return minutes;
}

function parsePercents(text: string): number[] {
  const percents = text.split(",").map(Number);
  if (percents.every((percent) => percent >= 0 && percent <= 1_000)) return percents.map((percent) => percent / 100);
  throw new UsageError(`${JSON.stringify(text)} are no percentages such as 0,5,10.`);
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError(`The seed ${JSON.stringify(text)} is not a whole number from 0 on.`);
  }
  return seed;
}

/** `npm run doctor`: is this machine fit to measure on, and what would change it. Reads only. */
import { existsSync, statSync } from "node:fs";
import { platform } from "node:os";
import { resolve } from "node:path";
import Table from "cli-table3";
import { Command, CommanderError } from "commander";
import { parseCommand, UsageError } from "../../engines/command-line.js";
import { printable } from "../../engines/printable.js";
import { diagnose, type Finding, type Grade, overall } from "./diagnose.js";
import { observe } from "./observe.js";

const EXIT_USAGE = 2;
const EXIT_UNFIT = 3;
const PLATFORMS = ["linux", "darwin"];
const MARKS: Readonly<Record<Grade, string>> = { good: "ok", doubtful: "doubtful", unfit: "UNFIT" };
const VERDICTS: Readonly<Record<Grade, string>> = {
  good: "Fit to measure on.",
  doubtful: "Fit, with the reservations above: figures carry them.",
  unfit: "Not fit to measure on: change what is marked UNFIT, or measure elsewhere.",
};

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    return await doctor(args);
  } catch (error) {
    if (error instanceof CommanderError) return 0;
    if (!(error instanceof UsageError)) throw error;
    console.error(printable(error.message));
    return EXIT_USAGE;
  }
}

async function doctor(args: string[]): Promise<number> {
  const options = parseArguments(args);
  if (!PLATFORMS.includes(platform())) {
    throw new UsageError(`${platform()} is not supported: measure on Linux, or with less to see on macOS.`);
  }
  const directory = resolve(options.dir);
  if (!existsSync(directory) || !statSync(directory).isDirectory()) {
    throw new UsageError(`${directory} is not a directory; give an existing one as --dir.`);
  }
  if (!options.json) console.error("Listening to the machine for three seconds …");
  const findings = diagnose(await observe(directory));
  const grade = overall(findings);
  console.log(
    options.json ? JSON.stringify({ formatVersion: 1, directory, grade, findings }, null, 2) : show(findings),
  );
  return grade === "unfit" ? EXIT_UNFIT : 0;
}

function show(findings: readonly Finding[]): string {
  const table = new Table({
    head: ["", "", "found"],
    style: { head: [], border: [], compact: true },
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  for (const { subject, grade, found } of findings) table.push([MARKS[grade], subject, printable(found)]);
  const lines = findings
    .filter(({ grade }) => grade !== "good")
    .flatMap(({ subject, reason, command }) => [
      `${subject}: ${reason ?? ""}`,
      ...(command === undefined ? [] : [`    ${command}`]),
    ]);
  return [table.toString(), ...lines.map(printable), VERDICTS[overall(findings)]].join("\n");
}

function parseArguments(args: string[]): { dir: string; json: boolean } {
  const command = new Command("npm run doctor --")
    .description("Tells whether this machine is fit to measure on, and what to change. It changes nothing itself.")
    .option("--dir <directory>", "look at the disk that this existing directory lies on", ".")
    .option("--json", "print the findings as JSON", false)
    .addHelpText(
      "after",
      "\nEach line is ok, doubtful (figures suffer, and say so) or UNFIT (do not measure here), with the command that\nwould change it. Exit codes: 0 fit, also with reservations; 2 usage; 3 unfit.",
    );
  parseCommand(command, args);
  return command.opts();
}

/** `npm run inspect`: tells what a directory of either engine, or of the originals, holds, and what is wrong with it. */

import { realpathSync, writeSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { parseCommand, UsageError } from "../command-line.js";
import { heap } from "../heap.js";
import { printable } from "../printable.js";
import { DiskStorage } from "../storage/disk-storage.js";
import { inspect, NotRecognizedError } from "./inspect.js";
import { Progress } from "./progress.js";
import type { BatchLine } from "./report.js";
import { batchText, reportText } from "./text.js";

const EXIT_DAMAGE = 1;
const EXIT_USAGE = 2;
/** How the shell counts a process that SIGPIPE ended. */
const EXIT_PIPE = 141;
const STDOUT = 1;
const STDERR = 2;
const BUFFERED_CHARACTERS = 65_536;
const BUSY_WAIT_MS = 1;

interface Options {
  readonly json?: boolean;
  readonly batches?: boolean;
  readonly topic?: string;
  readonly all?: boolean;
  readonly quick?: boolean;
}

const HELP = `
What is looked at: every checksum, every record (compressed ones are unfolded), every index entry and consumequeue unit
against the message it names, sizes, offsets that follow, checkpoints, markers, locks and leftovers. A commitlog's
messages have a checksum of their body only, so that of other fields only contradictions are seen.

Nothing is changed: files are opened for reading only, and an engine may run there meanwhile; its unfinished tail is a
note then, not damage. A partition, a queue or a single file is held against what lies around it.

--json prints one line: {"type":"report","formatVersion":1,…}. With --batches a line {"type":"batch",…} for each record
batch, or record of a commitlog, comes before it.

Exit codes: 0 nothing is wrong, 1 something is, 2 usage, or nothing was recognized.

Examples:
  npm run inspect -- /var/lib/kafka/data --topic orders
  npm run inspect -- ~/store/commitlog/00000000000000000000 --batches
  npm run --silent inspect -- data --json | jq '.damage[]'`;

function main(args: string[]): number {
  const progress = new Progress({ isTTY: process.stderr.isTTY === true, write: (text) => writeSync(STDERR, text) });
  try {
    const { path, options } = parseArguments(args);
    const out = new Output();
    const print = (type: "batch" | "report", value: object) => out.write(`${json({ type, ...value })}\n`);
    const onBatch = (line: BatchLine) => (options.json ? print("batch", line) : out.write(`${batchText(line)}\n`));
    const report = inspect(progress.watch(new DiskStorage()), existing(path), {
      heap,
      topic: options.topic ?? null,
      isQuick: options.quick === true,
      onBatch: options.batches === true ? onBatch : null,
    });
    progress.end();
    if (options.json) print("report", report);
    else out.write(`${options.batches ? "\n" : ""}${reportText(report, options.all === true)}`);
    out.end();
    return report.damage.length === 0 ? 0 : EXIT_DAMAGE;
  } catch (error) {
    progress.end();
    if (error instanceof CommanderError) return 0;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EPIPE") return EXIT_PIPE; // whoever reads this has read enough
    const isExpected = error instanceof UsageError || error instanceof NotRecognizedError;
    if (!isExpected && (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    const message = isExpected ? (error as Error).message : refusal(error as NodeJS.ErrnoException);
    writeSync(STDERR, `${printable(message)}\n`);
    return EXIT_USAGE;
  }
}

function parseArguments(args: string[]): { path: string; options: Options } {
  const command = new Command("npm run inspect --")
    .description("Tells what a directory of messages holds, and the first thing wrong with each of its files.")
    .argument(
      "<path>",
      "a directory of either engine, of Kafka or of RocketMQ; a partition or queue in it; or one file",
    )
    .option("--topic <name>", "this topic only")
    .option("--batches", "list every record batch, or record of a commitlog, as it is found")
    .option("--all", "no limit to tables and lists: without, more than 40 lines shrink to those with damage")
    .option("--quick", "checksums only: do not look at the records inside batches, unfold nothing")
    .option("--json", "for programs")
    .addHelpText("after", HELP);
  parseCommand(command, args);
  return { path: command.args[0]!, options: command.opts<Options>() };
}

/** Links are followed here, once, so that what is inspected has one name. */
function existing(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return path;
    throw error;
  }
}

function refusal({ code, path }: NodeJS.ErrnoException): string {
  const where = path === undefined ? "" : `${path} `;
  return `${where}cannot be read (${code}). Run this as a user who may read it.`;
}

/** JSON escapes only what it must; the rest of what could move a cursor is escaped here, too. */
function json(value: object): string {
  return JSON.stringify(value).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) =>
    character
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** Standard output in large synchronous writes: the inspection never yields to the event loop. */
class Output {
  #text = "";

  write(text: string): void {
    this.#text += text;
    if (this.#text.length >= BUFFERED_CHARACTERS) this.end();
  }

  end(): void {
    const bytes = Buffer.from(this.#text);
    this.#text = "";
    for (let done = 0; done < bytes.byteLength; ) {
      try {
        done += writeSync(STDOUT, bytes, done);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_WAIT_MS);
      }
    }
  }
}

process.exitCode = main(process.argv.slice(2));

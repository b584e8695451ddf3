/**
 * How fast the engines open a directory: what a recovery after a crash scans a second, from the page cache, and how long
 * thousands of partitions take after a clean close.
 *
 *   node dist/runners/recovery.bench.js [--rounds 9] [--mib 256] [--only commitlog]
 *
 * A scan is of the whole log: the marks of a clean close and of what had reached the device are taken away before each
 * opening. Its time is the recovery's, all of it: reading, checking, building indexes, making durable what it found.
 * The engines take turns, forwards and backwards.
 */
import fs from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import { Command } from "commander";
import { median, quantile } from "simple-statistics";
import { Message, type StorageEngine } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import { chooseByName, positiveInteger, withBenchDirectory } from "./bench-options.js";

interface Subject {
  readonly name: string;
  readonly messageSizeBytes: number;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Makes a cleanly closed directory look as after a crash in which all is to be scanned. */
  readonly crash: (directory: string) => void;
}

const LEAST_SCANNED_BYTES_PER_SECOND = 1e9;
const MANY_PARTITIONS = 5_000;
const MOST_OPENING_MS = 2_000;
const QUEUES = 8;
/** A poll for so many appends. */
const POLL_MESSAGES = 64;

const subjects: readonly Subject[] = [1_024, 100].flatMap((messageSizeBytes) => [
  {
    name: "partitioned-log",
    messageSizeBytes,
    settings: { segmentSizeBytes: 64 << 20 },
    crash: (directory: string) => {
      fs.rmSync(join(directory, ".kafka_cleanshutdown"));
      fs.rmSync(join(directory, "recovery-point-offset-checkpoint"));
    },
  },
  {
    name: "commitlog",
    messageSizeBytes,
    settings: { segmentSizeBytes: 64 << 20 },
    crash: (directory: string) => {
      fs.writeFileSync(join(directory, "abort"), "");
      fs.rmSync(join(directory, "checkpoint"));
    },
  },
]);

async function open(engine: string, directory: string, settings: Readonly<Record<string, unknown>>) {
  const definition = await loadEngine(engine);
  const listener = {
    acknowledged() {},
    failed: (_partition: number, _messageCount: number, error: Error) => {
      throw error;
    },
  };
  return definition.open({ directory, storage: new DiskStorage(), heap, settings, listener });
}

async function fill(engine: StorageEngine, partitionCount: number, messageSizeBytes: number, count: number) {
  const partitions = await engine.createTopic("bench", partitionCount);
  const value = heap.place(new Uint8Array(messageSizeBytes).fill(0x6c));
  const message = new Message(heap, value);
  for (let i = 0; i < count; i++) {
    while (!engine.append(partitions[i % partitionCount]!, message, Date.now())) engine.poll();
    if (i % POLL_MESSAGES === 0) engine.poll();
  }
  await engine.flush();
  await engine.close();
  heap.release(value.byteOffset);
}

/** @returns bytes a second */
async function scan(subject: Subject, directory: string): Promise<number> {
  subject.crash(directory);
  const engine = await open(subject.name, directory, subject.settings);
  const { scannedBytes, durationMs, repairs } = engine.recovery;
  if (repairs.length > 0) throw new Error(`${subject.name}: a sound directory was repaired: ${repairs[0]}`);
  await engine.close();
  return (scannedBytes * 1e3) / durationMs;
}

/** Rounds over all, forwards and backwards; the first is not counted. */
async function inTurns<T>(measures: readonly (() => Promise<T>)[], rounds: number): Promise<T[][]> {
  const results: T[][] = measures.map(() => []);
  const order = measures.map((_, i) => i);
  for (let round = -1; round < rounds; round++) {
    for (const i of order) {
      const result = await measures[i]!();
      if (round >= 0) results[i]!.push(result);
    }
    order.reverse();
  }
  return results;
}

function withQuartiles(values: number[], digits: number): string {
  const quartiles = [0.25, 0.75].map((p) => quantile(values, p).toFixed(digits));
  return `${median(values).toFixed(digits)} (${quartiles.join(" – ")})`;
}

const options = new Command("bench:engines, recovery")
  .description("Measures what recovery scans a second, and the opening of many partitions after a clean close.")
  .option("--rounds <n>", "counted rounds", positiveInteger, 9)
  .option("--mib <n>", "payload per directory, MiB", positiveInteger, 256)
  .option("--only <text>", "only engines whose name contains this", "")
  .parse()
  .opts<{ rounds: number; mib: number; only: string }>();

const chosen = chooseByName(subjects, options.only);
const names = [...new Set(chosen.map(({ name }) => name))];
const table = new Table({
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
  head: ["opening", "engine", "size", "median (quartiles)", "target"],
});
await withBenchDirectory(async (parent) => {
  const scans = [];
  for (const [i, subject] of chosen.entries()) {
    const directory = join(parent, `scan-${i}`);
    const engine = await open(subject.name, directory, subject.settings);
    const count = Math.floor((options.mib * 1024 * 1024) / subject.messageSizeBytes);
    await fill(engine, QUEUES, subject.messageSizeBytes, count);
    scans.push(() => scan(subject, directory));
  }
  for (const [i, rates] of (await inTurns(scans, options.rounds)).entries()) {
    const { name, messageSizeBytes } = chosen[i]!;
    table.push([
      "after a crash, all scanned",
      name,
      `${options.mib} MiB of ${messageSizeBytes} B`,
      `${withQuartiles(
        rates.map((rate) => rate / 1e9),
        2,
      )} GB/s`,
      `≥ ${LEAST_SCANNED_BYTES_PER_SECOND / 1e9}`,
    ]);
  }
  console.error("scans: done");
  const openings = [];
  for (const name of names) {
    const directory = join(parent, `many-${name}`);
    await fill(await open(name, directory, {}), MANY_PARTITIONS, 100, MANY_PARTITIONS);
    openings.push(async () => {
      const startedNs = process.hrtime.bigint();
      const engine = await open(name, directory, {});
      const durationMs = Number(process.hrtime.bigint() - startedNs) / 1e6;
      await engine.close();
      return durationMs;
    });
  }
  for (const [i, durations] of (await inTurns(openings, options.rounds)).entries()) {
    table.push([
      "after a clean close",
      names[i]!,
      `${MANY_PARTITIONS} partitions`,
      `${withQuartiles(durations, 0)} ms`,
      `< ${MOST_OPENING_MS}`,
    ]);
  }
});
console.log(table.toString());
console.log("From the page cache, one thread; the scan with checksums and all indexes built again.");

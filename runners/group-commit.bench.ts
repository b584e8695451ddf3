/**
 * What group commit is worth under `flush: "sync"`: messages acknowledged a second with 64 in flight as a multiple of
 * those with one, and how long an acknowledgement takes beside the device's own fdatasync.
 *
 *   node dist/runners/group-commit.bench.js [--rounds 15] [--slice-ms 100] [--only commitlog]
 *
 * Slices alternate within one run, forwards and backwards: the probe (a page written and fdatasync, by the synchronous
 * calls, one after the other), the same of as many files at once as the engine syncs, one in flight, 64 in flight. The
 * probe does what the engine does: its files grow, and for the commitlog the file is preallocated.
 *
 * The loop sleeps while all are in flight. One that spins keeps a processor from the kernel's own threads, which complete
 * a sync: on two processors that made the p99 two to three times as long. For the same reason run it at normal priority.
 */
import fs from "node:fs";
import { join } from "node:path";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import { promisify } from "node:util";
import Table from "cli-table3";
import { Command } from "commander";
import { median, quantile } from "simple-statistics";
import { Message, type PartitionHandle, type StorageEngine } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import { chooseByName, positiveInteger, withBenchDirectory } from "./bench-options.js";

interface Subject {
  readonly name: string;
  readonly engine: string;
  readonly partitionCount: number;
  /** Files that it syncs independently of each other. */
  readonly syncedFiles: number;
  /** Of the probe's file; 0 = it grows. */
  readonly preallocatedBytes: number;
  readonly settings?: Readonly<Record<string, unknown>>;
}

const sync = promisify(fs.fdatasync);
const MESSAGE_SIZE_BYTES = 1_024;
const PAGE_SIZE_BYTES = 4_096;
const IN_FLIGHT = 64;
/** An engine is polled at least so often. */
const LONGEST_SLEEP_MS = 1;
const LEAST_SPEED_UP = 15;
const MOST_P99_RATIO = 4;
const SETTINGS = { flush: "sync", segmentSizeBytes: 256 << 20 };

const subjects: readonly Subject[] = [
  { name: "partitioned-log", engine: "partitioned-log", partitionCount: 1, syncedFiles: 1, preallocatedBytes: 0 },
  { name: "partitioned-log", engine: "partitioned-log", partitionCount: 8, syncedFiles: 8, preallocatedBytes: 0 },
  { name: "commitlog", engine: "commitlog", partitionCount: 8, syncedFiles: 1, preallocatedBytes: 256 << 20 },
  {
    ...{ name: "commitlog, written", engine: "commitlog", partitionCount: 8, syncedFiles: 1 },
    ...{ preallocatedBytes: 256 << 20, settings: { writePath: "write" } },
  },
];

/** What was measured in one slice. */
interface Slice {
  readonly perSecond: number;
  readonly latenciesNs: readonly number[];
}

/** A closed loop around an engine: as many in flight as asked for, each to the next partition. */
class Loop {
  readonly #message = new Message(heap, heap.place(new Uint8Array(MESSAGE_SIZE_BYTES).fill(0x6c)));
  #engine!: StorageEngine;
  #partitions: readonly PartitionHandle[] = [];
  /** Send times of the unacknowledged, by partition handle, in order. */
  #sentNs: number[][] = [];
  #sentCount = 0;
  #outstandingCount = 0;
  #acknowledgedCount = 0;
  #latenciesNs: number[] = [];
  #failure: Error | null = null;
  #wake: () => void = () => {};

  async open(subject: Subject, directory: string): Promise<this> {
    const { open } = await loadEngine(subject.engine);
    this.#engine = await open({
      ...{ directory, storage: new DiskStorage(), heap, settings: { ...SETTINGS, ...subject.settings } },
      listener: {
        acknowledged: (partition, _baseOffset, messageCount) => {
          const nowNs = now();
          for (const sentNs of this.#sentNs[partition]!.splice(0, messageCount)) this.#latenciesNs.push(nowNs - sentNs);
          this.#acknowledgedCount += messageCount;
          this.#outstandingCount -= messageCount;
          this.#wake();
        },
        failed: (_partition, _messageCount, error) => {
          this.#failure = error;
        },
      },
    });
    this.#partitions = await this.#engine.createTopic("bench", subject.partitionCount);
    this.#sentNs = this.#partitions.map(() => []);
    return this;
  }

  /** Fills up, polls, and sleeps until the next acknowledgement. */
  async run(inFlight: number, durationNs: number): Promise<Slice> {
    this.#latenciesNs = [];
    const before = this.#acknowledgedCount;
    const startedNs = now();
    while (now() - startedNs < durationNs) {
      while (this.#outstandingCount < inFlight) this.#send();
      this.#engine.poll();
      if (this.#failure !== null) throw this.#failure;
      await (this.#outstandingCount < inFlight ? turnOfEventLoop() : this.#sleep());
    }
    const perSecond = ((this.#acknowledgedCount - before) * 1e9) / (now() - startedNs);
    await this.#engine.flush();
    return { perSecond, latenciesNs: this.#latenciesNs };
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), LONGEST_SLEEP_MS);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
    });
  }

  async close(): Promise<void> {
    await this.#engine.close();
    heap.release(this.#message.value!.byteOffset);
  }

  #send(): void {
    const partition = this.#partitions[this.#sentCount++ % this.#partitions.length]!;
    this.#sentNs[partition]!.push(now());
    this.#outstandingCount++;
    if (!this.#engine.append(partition, this.#message, Date.now())) throw new Error("The engine's buffer is full.");
  }
}

/** The device's own: a page written at the end of what was written, and fdatasync. */
class Probe {
  readonly #files: number[];
  readonly #page = new Uint8Array(PAGE_SIZE_BYTES).fill(0x6c);
  #pageCount = 0;

  constructor(directory: string, fileCount: number, preallocatedBytes: number) {
    fs.mkdirSync(directory);
    this.#files = Array.from({ length: fileCount }, (_, i) => {
      const path = join(directory, `${i}`);
      const file = new DiskStorage().open(path, "create");
      if (preallocatedBytes > 0) file.allocate(preallocatedBytes);
      file.syncNow();
      file.close();
      return fs.openSync(path, fs.constants.O_RDWR);
    });
  }

  /** The first file alone, by synchronous calls. */
  run(durationNs: number): Slice {
    const latenciesNs: number[] = [];
    const startedNs = now();
    for (let beforeNs = startedNs; beforeNs - startedNs < durationNs; ) {
      this.#write(this.#files[0]!);
      fs.fdatasyncSync(this.#files[0]!);
      this.#pageCount++;
      const afterNs = now();
      latenciesNs.push(afterNs - beforeNs);
      beforeNs = afterNs;
    }
    return { perSecond: (latenciesNs.length * 1e9) / (now() - startedNs), latenciesNs };
  }

  /** All files at once, on the thread pool, as an engine has to. */
  async runTogether(durationNs: number): Promise<Slice> {
    const latenciesNs: number[] = [];
    const startedNs = now();
    while (now() - startedNs < durationNs) {
      const beforeNs = now();
      for (const file of this.#files) this.#write(file);
      this.#pageCount++;
      const syncs = this.#files.map(async (file) => {
        await sync(file);
        latenciesNs.push(now() - beforeNs);
      });
      await Promise.all(syncs);
    }
    return { perSecond: (latenciesNs.length * 1e9) / (now() - startedNs), latenciesNs };
  }

  close(): void {
    for (const file of this.#files) fs.closeSync(file);
  }

  #write(file: number): void {
    fs.writeSync(file, this.#page, 0, PAGE_SIZE_BYTES, this.#pageCount * PAGE_SIZE_BYTES);
  }
}

interface Measured {
  readonly probe: Slice[];
  readonly together: Slice[];
  readonly alone: Slice[];
  readonly grouped: Slice[];
}

async function measure(subject: Subject, directory: string, rounds: number, sliceNs: number): Promise<Measured> {
  fs.mkdirSync(directory);
  const probe = new Probe(join(directory, "probe"), subject.syncedFiles, subject.preallocatedBytes);
  const loop = await new Loop().open(subject, join(directory, "engine"));
  const measured: Measured = { probe: [], together: [], alone: [], grouped: [] };
  const steps = [
    async () => measured.probe.push(probe.run(sliceNs)),
    async () => measured.together.push(await probe.runTogether(sliceNs)),
    async () => measured.alone.push(await loop.run(1, sliceNs)),
    async () => measured.grouped.push(await loop.run(IN_FLIGHT, sliceNs)),
  ];
  for (let round = -1; round < rounds; round++) {
    for (const step of steps) await step();
    steps.reverse();
  }
  await loop.close();
  probe.close();
  fs.rmSync(directory, { recursive: true });
  for (const slices of Object.values(measured)) slices.shift(); // the first round warms up
  return measured;
}

function now(): number {
  return Number(process.hrtime.bigint());
}

function percentileUs(slices: readonly Slice[], fraction: number): number {
  return (
    quantile(
      slices.flatMap(({ latenciesNs }) => latenciesNs),
      fraction,
    ) / 1e3
  );
}

function withQuartiles(values: number[], digits: number): string {
  const quartiles = [0.25, 0.75].map((p) => quantile(values, p).toFixed(digits));
  return `${median(values).toFixed(digits)} (${quartiles.join(" – ")})`;
}

const options = new Command("bench:engines, group commit")
  .description("Compares 64 messages in flight with one under synchronous flush, and with the device's fdatasync.")
  .option("--rounds <n>", "counted rounds", positiveInteger, 15)
  .option("--slice-ms <n>", "length of a slice, ms", positiveInteger, 100)
  .option("--only <text>", "only engines whose name contains this", "")
  .parse()
  .opts<{ rounds: number; sliceMs: number; only: string }>();

const chosen = chooseByName(subjects, options.only);
const table = new Table({
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
  head: [
    "engine",
    "partitions",
    "1 in flight",
    "64 in flight",
    "64 ÷ 1",
    "target",
    "p50, p99",
    "fdatasync p50, p99",
    "of as many files at once",
    "p99 ÷ p99",
    "target",
  ],
});
await withBenchDirectory(async (parent) => {
  for (const [i, subject] of chosen.entries()) {
    const { probe, together, alone, grouped } = await measure(
      subject,
      join(parent, `${i}`),
      options.rounds,
      options.sliceMs * 1e6,
    );
    const perSecond = (slices: Slice[]) => `${(median(slices.map((slice) => slice.perSecond)) / 1e3).toFixed(1)} k/s`;
    const both = (slices: Slice[]) =>
      `${percentileUs(slices, 0.5).toFixed(0)}, ${percentileUs(slices, 0.99).toFixed(0)} µs`;
    table.push([
      subject.name,
      subject.partitionCount,
      perSecond(alone),
      perSecond(grouped),
      withQuartiles(
        grouped.map((slice, round) => slice.perSecond / alone[round]!.perSecond),
        1,
      ),
      `≥ ${LEAST_SPEED_UP}`,
      both(grouped),
      both(probe),
      both(together),
      (percentileUs(grouped, 0.99) / percentileUs(probe, 0.99)).toFixed(1),
      `< ${MOST_P99_RATIO}`,
    ]);
    console.error(`${subject.name}, ${subject.partitionCount} partitions: done`);
  }
});
console.log(table.toString());
console.log(
  `D2, closed loop, one writer, synchronous flush, ${MESSAGE_SIZE_BYTES} B messages; percentiles over all slices, of 64 in flight and of one fdatasync after a page appended (commitlog: into a preallocated file).`,
);

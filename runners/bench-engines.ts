/**
 * `npm run bench:engines`: what the engines' own code costs, as ratios within one run.
 *
 * Each comparison alternates short slices of an engine and of `raw`, which writes ready bytes through the same call: A B
 * B A …, asynchronous flush, so that the ratio is the price of the format and of its bookkeeping. The median of the
 * per-round ratios is what counts; single rates depend on the machine's mood.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { median, quantile } from "simple-statistics";
import { Message, type PartitionHandle, type StorageEngine } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";

interface Contender {
  readonly engine: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

interface Comparison {
  readonly name: string;
  readonly messageSizeBytes: number;
  readonly partitionCount: number;
  readonly measured: Contender;
  readonly reference: Contender;
  /** What the ratio compares: bytes of log written, or messages appended, per second. */
  readonly unit: "log bytes" | "messages";
  readonly targetRatio: number;
}

const BATCH_SIZE_BYTES = 16_384;
const TIMESTAMP_MS = 1_700_000_000_000;
const WARMUP_ROUNDS = 4;
/** The event loop gets a turn this often, as in a trial: engines learn there that their background work is done. */
const TURN_MESSAGES = 1_000;
/** Batches close when full, never by time: the comparison is about full ones. */
const FULL_BATCHES = { flush: "async", batchSizeBytes: BATCH_SIZE_BYTES, lingerMs: 60_000 };
const ONE_BY_ONE = { flush: "async", batchSizeBytes: 0 };
const SEGMENT = { segmentSizeBytes: 256 * 1024 * 1024 };

const comparisons: Comparison[] = [
  ...[1_024, 100].flatMap((messageSizeBytes) =>
    [1, 10, 100, 1_000].map((partitionCount) => ({
      name: "partitioned-log, 16 KiB batches",
      messageSizeBytes,
      partitionCount,
      measured: { engine: "partitioned-log", settings: { ...FULL_BATCHES, ...SEGMENT } },
      reference: { engine: "raw", settings: FULL_BATCHES },
      unit: "log bytes" as const,
      targetRatio: messageSizeBytes === 100 ? 0.7 : 0.85,
    })),
  ),
  ...[1_024, 100].map((messageSizeBytes) => ({
    name: "commitlog, one by one",
    messageSizeBytes,
    partitionCount: 8,
    measured: { engine: "commitlog", settings: { ...ONE_BY_ONE, ...SEGMENT } },
    reference: { engine: "raw", settings: ONE_BY_ONE },
    unit: "messages" as const,
    targetRatio: messageSizeBytes === 100 ? 3 : 2,
  })),
];

/** One opened engine of a comparison, fed slice by slice. */
class Bench {
  #sentCount = 0;
  #acknowledgedCount = 0;
  #failure: Error | null = null;
  #partition: PartitionHandle = 0;
  #engine!: StorageEngine;
  #partitions: readonly PartitionHandle[] = [];

  constructor(
    readonly contender: Contender,
    readonly comparison: Comparison,
    readonly message: Message,
    /** As the sticky partitioner does: one partition until its batch is full, then the next. */
    readonly runLength: number,
  ) {}

  async open(directory: string): Promise<void> {
    await mkdir(directory);
    const definition = await loadEngine(this.contender.engine);
    this.#engine = await definition.open({
      directory,
      storage: new DiskStorage(),
      heap,
      settings: this.contender.settings,
      listener: {
        acknowledged: (_partition, _baseOffset, messageCount) => {
          this.#acknowledgedCount += messageCount;
        },
        failed: (_partition, _messageCount, error) => {
          this.#failure = error;
        },
      },
    });
    this.#partitions = await this.#engine.createTopic("bench", this.comparison.partitionCount);
  }

  /** Appends a slice and waits until it is indexed too, as far as the engine defers that. @returns bytes or messages a second */
  async rateOfSlice(messageCount: number): Promise<number> {
    const before = this.#engine.counters();
    const startedNs = process.hrtime.bigint();
    const until = this.#sentCount + messageCount;
    while (this.#sentCount < until) {
      this.#appendRuns(Math.min(until, this.#sentCount + TURN_MESSAGES));
      await turnOfEventLoop();
    }
    while (this.contender.engine === "commitlog" && this.#engine.counters().indexEntries < this.#sentCount) {
      this.#engine.poll();
    }
    const durationSeconds = Number(process.hrtime.bigint() - startedNs) / 1e9;
    if (this.comparison.unit === "messages") return messageCount / durationSeconds;
    return (this.#engine.counters().logBytes - before.logBytes) / durationSeconds;
  }

  #appendRuns(until: number): void {
    for (; this.#sentCount < until; this.#sentCount++) {
      if (this.#sentCount % this.runLength === 0) {
        this.#partition = this.#partitions[(this.#sentCount / this.runLength) % this.#partitions.length]!;
        this.#engine.poll();
      }
      while (!this.#engine.append(this.#partition, this.message, TIMESTAMP_MS)) this.#engine.poll();
    }
  }

  /** @throws Error if a message was lost on the way: a rate of lost messages is none */
  async close(): Promise<void> {
    await this.#engine.flush();
    await this.#engine.close();
    if (this.#failure !== null) throw this.#failure;
    if (this.#acknowledgedCount !== this.#sentCount) {
      throw new Error(
        `${this.contender.engine}: ${this.#acknowledgedCount} of ${this.#sentCount} messages were acknowledged.`,
      );
    }
  }
}

interface Rates {
  readonly measured: number[];
  readonly reference: number[];
}

/** Alternates slices of the two, in ABBA order; the first slices, in which the code is compiled, are not counted. */
async function compare(comparison: Comparison, rounds: number, sliceBytes: number, parent: string): Promise<Rates> {
  const { messageSizeBytes } = comparison;
  const payload = heap.place(new Uint8Array(messageSizeBytes).fill(0x6c));
  const message = new Message(heap, payload);
  const runLength = Math.max(1, Math.floor((BATCH_SIZE_BYTES - 61) / (messageSizeBytes + 10)));
  const sliceMessages = Math.ceil(sliceBytes / messageSizeBytes);
  const measured = new Bench(comparison.measured, comparison, message, runLength);
  const reference = new Bench(comparison.reference, comparison, message, runLength);
  const directory = await mkdtemp(join(parent, "comparison-"));
  const rates: Rates = { measured: [], reference: [] };
  await measured.open(join(directory, "measured"));
  await reference.open(join(directory, "reference"));
  for (let round = -WARMUP_ROUNDS; round < rounds; round++) {
    const first = round % 2 === 0 ? measured : reference;
    const second = first === measured ? reference : measured;
    const firstRate = await first.rateOfSlice(sliceMessages);
    const secondRate = await second.rateOfSlice(sliceMessages);
    if (round < 0) continue;
    rates.measured.push(first === measured ? firstRate : secondRate);
    rates.reference.push(first === measured ? secondRate : firstRate);
  }
  await measured.close();
  await reference.close();
  heap.release(payload.byteOffset);
  await rm(directory, { recursive: true, force: true });
  return rates;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

const options = new Command("bench:engines")
  .description("Compares each engine's append path with raw writes of the same bytes, alternating, as ratios.")
  .option("--rounds <n>", "counted rounds per comparison", positiveInteger, 31)
  .option("--mib <n>", "payload per slice, MiB", positiveInteger, 8)
  .option("--only <text>", "only comparisons whose name contains this", "")
  .parse()
  .opts<{ rounds: number; mib: number; only: string }>();

const chosen = comparisons.filter((comparison) => comparison.name.includes(options.only));
if (chosen.length === 0) {
  console.error(
    `No comparison contains "${options.only}". There are: ${[...new Set(comparisons.map((c) => c.name))].join("; ")}.`,
  );
  process.exit(2);
}
const parent = await mkdtemp(join(process.cwd(), ".logduel-bench-"));
const table = new Table({
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
  head: ["comparison", "message", "partitions", "engine", "raw", "ratio, median (quartiles)", "target"],
});
try {
  for (const comparison of chosen) {
    const { measured, reference } = await compare(comparison, options.rounds, options.mib * 1024 * 1024, parent);
    const ratios = measured.map((rate, round) => rate / reference[round]!);
    const show = (rate: number) =>
      comparison.unit === "log bytes" ? `${(rate / 1e6).toFixed(0)} MB/s` : `${(rate / 1e3).toFixed(0)} k/s`;
    table.push([
      comparison.name,
      `${comparison.messageSizeBytes} B`,
      comparison.partitionCount,
      show(median(measured)),
      show(median(reference)),
      `${median(ratios).toFixed(2)} (${quantile(ratios, 0.25).toFixed(2)} – ${quantile(ratios, 0.75).toFixed(2)})`,
      `≥ ${comparison.targetRatio}`,
    ]);
    console.error(
      `${comparison.name}, ${comparison.messageSizeBytes} B, ${comparison.partitionCount} partitions: done`,
    );
  }
} finally {
  await rm(parent, { recursive: true, force: true });
}
console.log(table.toString());
console.log(
  "D1, closed loop, one writer, asynchronous flush; bytes of log per second (batches) or messages per second.",
);

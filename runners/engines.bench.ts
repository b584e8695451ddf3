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
import { Command } from "commander";
import { median, quantile } from "simple-statistics";
import { Message, type PartitionHandle, type StorageEngine } from "../engines/engine.js";
import { DiskStorage, heap, loadEngine } from "../engines/registry.js";
import { chooseByName, positiveInteger, withBenchDirectory } from "./bench-options.js";

interface EngineChoice {
  readonly engine: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

interface Comparison {
  readonly name: string;
  readonly messageSizeBytes: number;
  readonly partitionCount: number;
  readonly measured: EngineChoice;
  readonly raw: EngineChoice;
  /** Also compare with ready blocks written to as many files as there are partitions: the layout's price, taken out. */
  readonly withReadyBlocks: boolean;
  /** What the ratio compares: bytes of log written, or messages appended, per second. */
  readonly unit: "log bytes" | "messages";
  /** Least ratio to raw. */
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
      raw: { engine: "raw", settings: FULL_BATCHES },
      withReadyBlocks: true,
      unit: "log bytes" as const,
      targetRatio: messageSizeBytes === 100 ? 0.7 : 0.85,
    })),
  ),
  ...[1_024, 100].map((messageSizeBytes) => ({
    name: "commitlog, one by one",
    messageSizeBytes,
    partitionCount: 8,
    measured: { engine: "commitlog", settings: { ...ONE_BY_ONE, ...SEGMENT } },
    raw: { engine: "raw", settings: ONE_BY_ONE },
    withReadyBlocks: false,
    unit: "messages" as const,
    targetRatio: messageSizeBytes === 100 ? 3 : 2,
  })),
];

/** What takes part in a comparison, fed slice by slice. */
interface Contender {
  /** Appends a slice. @returns bytes of log or messages a second, as the comparison asks */
  rateOfSlice(messageCount: number): Promise<number>;
  close(): Promise<void>;
}

class EngineContender implements Contender {
  #sentCount = 0;
  #acknowledgedCount = 0;
  #failure: Error | null = null;
  #partition: PartitionHandle = 0;
  #engine!: StorageEngine;
  #partitions: readonly PartitionHandle[] = [];

  constructor(
    readonly choice: EngineChoice,
    readonly comparison: Comparison,
    readonly message: Message,
    /** As the sticky partitioner does: one partition until its batch is full, then the next. */
    readonly runLength: number,
  ) {}

  async open(directory: string): Promise<this> {
    await mkdir(directory);
    const definition = await loadEngine(this.choice.engine);
    this.#engine = await definition.open({
      directory,
      storage: new DiskStorage(),
      heap,
      settings: this.choice.settings,
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
    return this;
  }

  /** Waits until the slice is indexed too, where the engine defers that. */
  async rateOfSlice(messageCount: number): Promise<number> {
    const before = this.#engine.counters();
    const startedNs = process.hrtime.bigint();
    const until = this.#sentCount + messageCount;
    while (this.#sentCount < until) {
      this.#appendRuns(Math.min(until, this.#sentCount + TURN_MESSAGES));
      await turnOfEventLoop();
    }
    while (this.choice.engine === "commitlog" && this.#engine.counters().indexEntries < this.#sentCount) {
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
        `${this.choice.engine}: ${this.#acknowledgedCount} of ${this.#sentCount} messages were acknowledged.`,
      );
    }
  }
}

/** Writes one ready block after the other, in turn to as many files: no format, no checksum, the engine's block size. */
class ReadyBlocks implements Contender {
  readonly #files: ReturnType<DiskStorage["open"]>[];
  readonly #sizes: Float64Array;
  #next = 0;

  constructor(
    directory: string,
    fileCount: number,
    readonly address: number,
    readonly blockSizeBytes: number,
    readonly messagesPerBlock: number,
  ) {
    const storage = new DiskStorage();
    storage.makeDirectory(directory);
    this.#files = Array.from({ length: fileCount }, (_, i) => storage.open(join(directory, `${i}`), "create"));
    this.#sizes = new Float64Array(fileCount);
  }

  async rateOfSlice(messageCount: number): Promise<number> {
    const blockCount = Math.ceil(messageCount / this.messagesPerBlock);
    const startedNs = process.hrtime.bigint();
    for (let i = 0; i < blockCount; i++) {
      const place = this.#next++ % this.#files.length;
      this.#files[place]!.write(heap.bytes, this.address, this.blockSizeBytes, this.#sizes[place]!);
      this.#sizes[place]! += this.blockSizeBytes;
    }
    return (blockCount * this.blockSizeBytes * 1e9) / Number(process.hrtime.bigint() - startedNs);
  }

  async close(): Promise<void> {
    for (const file of this.#files) file.close();
  }
}

/**
 * Alternates slices of the contenders, forwards and backwards (ABBA); the first slices, in which the code is compiled, are
 * not counted.
 * @returns rates by round: of the engine, of raw, and of ready blocks if asked for
 */
async function compare(
  comparison: Comparison,
  rounds: number,
  sliceBytes: number,
  parent: string,
): Promise<number[][]> {
  const { messageSizeBytes, partitionCount } = comparison;
  const bytes = heap.place(new Uint8Array(BATCH_SIZE_BYTES).fill(0x6c));
  const message = new Message(heap, bytes.subarray(0, messageSizeBytes));
  const runLength = Math.max(1, Math.floor((BATCH_SIZE_BYTES - 61) / (messageSizeBytes + 10)));
  const directory = await mkdtemp(join(parent, "comparison-"));
  const contenders: Contender[] = [
    await new EngineContender(comparison.measured, comparison, message, runLength).open(join(directory, "engine")),
    await new EngineContender(comparison.raw, comparison, message, runLength).open(join(directory, "raw")),
  ];
  if (comparison.withReadyBlocks) {
    const blockSizeBytes = 61 + runLength * (messageSizeBytes + 9);
    contenders.push(
      new ReadyBlocks(join(directory, "blocks"), partitionCount, bytes.byteOffset, blockSizeBytes, runLength),
    );
  }
  const rates: number[][] = contenders.map(() => []);
  const order = contenders.map((_, i) => i);
  for (let round = -WARMUP_ROUNDS; round < rounds; round++) {
    for (const i of order) {
      const rate = await contenders[i]!.rateOfSlice(Math.ceil(sliceBytes / messageSizeBytes));
      if (round >= 0) rates[i]!.push(rate);
    }
    order.reverse();
  }
  for (const contender of contenders) await contender.close();
  heap.release(bytes.byteOffset);
  await rm(directory, { recursive: true, force: true });
  return rates;
}

const options = new Command("bench:engines")
  .description("Compares each engine's append path with raw writes of the same bytes, alternating, as ratios.")
  .option("--rounds <n>", "counted rounds per comparison", positiveInteger, 31)
  .option("--mib <n>", "payload per slice, MiB", positiveInteger, 8)
  .option("--only <text>", "only comparisons whose name contains this", "")
  .parse()
  .opts<{ rounds: number; mib: number; only: string }>();

const chosen = chooseByName(comparisons, options.only);
const table = new Table({
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
  head: [
    "comparison",
    "message",
    "partitions",
    "engine",
    "raw, one file",
    "ratio (quartiles)",
    "target",
    "blocks, as many files",
    "ratio",
  ],
});
await withBenchDirectory(async (parent) => {
  for (const comparison of chosen) {
    const [engine, raw, blocks] = await compare(comparison, options.rounds, options.mib * 1024 * 1024, parent);
    const rate = (rates: number[]) =>
      comparison.unit === "log bytes"
        ? `${(median(rates) / 1e6).toFixed(0)} MB/s`
        : `${(median(rates) / 1e3).toFixed(0)} k/s`;
    const ratio = (to: number[]) => {
      const ratios = engine!.map((value, round) => value / to[round]!);
      const quartiles = [0.25, 0.75].map((p) => quantile(ratios, p).toFixed(2));
      return `${median(ratios).toFixed(2)} (${quartiles.join(" – ")})`;
    };
    table.push([
      comparison.name,
      `${comparison.messageSizeBytes} B`,
      comparison.partitionCount,
      rate(engine!),
      rate(raw!),
      ratio(raw!),
      `≥ ${comparison.targetRatio}`,
      blocks === undefined ? "" : rate(blocks),
      blocks === undefined ? "" : ratio(blocks),
    ]);
    console.error(
      `${comparison.name}, ${comparison.messageSizeBytes} B, ${comparison.partitionCount} partitions: done`,
    );
  }
});
console.log(table.toString());
console.log(
  "D1, closed loop, one writer, asynchronous flush; bytes of log (batches) or messages (one by one) a second.",
);

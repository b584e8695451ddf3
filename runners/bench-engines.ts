/**
 * `npm run bench:engines`: what the engines' own code costs, as ratios within one run.
 *
 * Each comparison alternates an engine with `raw`, which writes ready bytes through the same call: A B A B …, every round
 * in a fresh directory, asynchronous flush, so that the ratio is the price of the format and of its bookkeeping. The
 * median of the per-round ratios is what counts; single rates depend on the machine's mood.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { median } from "simple-statistics";
import { Message } from "../engines/engine.js";
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
  readonly unit: "logBytesPerSecond" | "messagesPerSecond";
  readonly targetRatio: number;
}

interface Rate {
  readonly logBytesPerSecond: number;
  readonly messagesPerSecond: number;
}

const BATCH_SIZE_BYTES = 16_384;
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
      unit: "logBytesPerSecond" as const,
      targetRatio: messageSizeBytes === 100 ? 0.7 : 0.85,
    })),
  ),
  ...[1_024, 100].map((messageSizeBytes) => ({
    name: "commitlog, one by one",
    messageSizeBytes,
    partitionCount: 8,
    measured: { engine: "commitlog", settings: { ...ONE_BY_ONE, ...SEGMENT } },
    reference: { engine: "raw", settings: ONE_BY_ONE },
    unit: "messagesPerSecond" as const,
    targetRatio: messageSizeBytes === 100 ? 3 : 2,
  })),
];

/** Appends about `totalBytes` of payload and waits until all is acknowledged and indexed; opening and closing untimed. */
async function measure(
  contender: Contender,
  comparison: Comparison,
  totalBytes: number,
  parent: string,
): Promise<Rate> {
  const { messageSizeBytes, partitionCount } = comparison;
  const directory = await mkdtemp(join(parent, "round-"));
  const failures: Error[] = [];
  let acknowledgedCount = 0;
  const definition = await loadEngine(contender.engine);
  const engine = await definition.open({
    directory,
    storage: new DiskStorage(),
    heap,
    settings: contender.settings,
    listener: {
      acknowledged: (_partition, _baseOffset, messageCount) => {
        acknowledgedCount += messageCount;
      },
      failed: (_partition, _messageCount, error) => failures.push(error),
    },
  });
  const payload = heap.place(new Uint8Array(messageSizeBytes).fill(0x6c));
  const message = new Message(heap, payload);
  try {
    const partitions = await engine.createTopic("bench", partitionCount);
    const messageCount = Math.ceil(totalBytes / messageSizeBytes);
    // As the sticky partitioner does: one partition until its batch is full, then the next.
    const runLength = Math.max(1, Math.floor((BATCH_SIZE_BYTES - 61) / (messageSizeBytes + 10)));
    const warmupCount = Math.min(messageCount, Math.max(20_000, partitionCount * runLength));
    let sentCount = 0;
    const send = (count: number) => {
      const until = sentCount + count;
      let partition = partitions[0]!;
      for (; sentCount < until; sentCount++) {
        if (sentCount % runLength === 0) {
          partition = partitions[(sentCount / runLength) % partitionCount]!;
          engine.poll();
        }
        while (!engine.append(partition, message, 1_700_000_000_000)) engine.poll();
      }
    };
    send(warmupCount);
    const before = engine.counters();
    const startedNs = process.hrtime.bigint();
    send(messageCount);
    const indexed = () => {
      const { indexEntries } = engine.counters();
      return contender.engine !== "commitlog" || indexEntries >= sentCount;
    };
    while (!indexed()) engine.poll();
    const durationSeconds = Number(process.hrtime.bigint() - startedNs) / 1e9;
    const logBytes = engine.counters().logBytes - before.logBytes;
    await engine.flush();
    if (failures[0] !== undefined) throw failures[0];
    if (acknowledgedCount !== sentCount)
      throw new Error(`${contender.engine}: ${acknowledgedCount} of ${sentCount} messages were acknowledged.`);
    return { logBytesPerSecond: logBytes / durationSeconds, messagesPerSecond: messageCount / durationSeconds };
  } finally {
    await engine.close();
    heap.release(payload.byteOffset);
    await rm(directory, { recursive: true, force: true });
  }
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

const options = new Command("bench:engines")
  .description("Compares each engine's append path with raw writes of the same bytes, alternating, as ratios.")
  .option("--rounds <n>", "rounds per comparison", positiveInteger, 7)
  .option("--mib <n>", "payload per round, MiB", positiveInteger, 128)
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
  head: ["comparison", "message", "partitions", "engine", "raw", "ratio, median (min – max)", "target"],
});
try {
  for (const comparison of chosen) {
    const totalBytes =
      comparison.unit === "messagesPerSecond" ? (options.mib * 1024 * 1024) / 4 : options.mib * 1024 * 1024;
    const measured: number[] = [];
    const reference: number[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const engineFirst = round % 2 === 0;
      for (const turn of engineFirst ? ["measured", "reference"] : ["reference", "measured"]) {
        const contender = turn === "measured" ? comparison.measured : comparison.reference;
        const rate = await measure(contender, comparison, totalBytes, parent);
        (turn === "measured" ? measured : reference).push(rate[comparison.unit]);
      }
    }
    const ratios = measured.map((rate, round) => rate / reference[round]!);
    const show = (rate: number) =>
      comparison.unit === "logBytesPerSecond" ? `${(rate / 1e6).toFixed(0)} MB/s` : `${(rate / 1e3).toFixed(0)} k/s`;
    table.push([
      comparison.name,
      `${comparison.messageSizeBytes} B`,
      comparison.partitionCount,
      show(median(measured)),
      show(median(reference)),
      `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} – ${Math.max(...ratios).toFixed(2)})`,
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

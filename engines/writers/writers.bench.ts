/**
 * `npm run bench:writers`: how much two threads append in the time of one, as ratios within one run.
 *
 * One directory, one engine. Slices in which the engine's own thread appends alternate with slices in which a worker
 * thread appends as well (A B B A …); the threads share a slice's messages out among themselves as they go. The same is
 * done with the bare thing beneath: copies into a mapped file (commitlog), writes of ready batches to a file for each
 * thread (partitioned log). What these gain from a second thread is what memory and kernel allow.
 */
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { median, quantile } from "simple-statistics";
import { Message, type StorageEngine } from "../engine.js";
import { heap } from "../heap.js";
import { DiskStorage, loadEngine } from "../registry.js";
import { type BenchThreadData, type BenchWork, bareChunk, CHUNK, COPY_WINDOW_BYTES, WorkPool } from "./bench-thread.js";
import { LOCK_KINDS } from "./lock.js";

const WARMUP_ROUNDS = 3;
const PARTITIONS = 8;
const BATCH_SIZE_BYTES = 16_384;
/** The event loop gets a turn after so many chunks. */
const CHUNKS_A_TURN = 7;
const SETTINGS: Record<string, Record<string, unknown>> = {
  "partitioned-log": { batchSizeBytes: BATCH_SIZE_BYTES, lingerMs: 60_000, segmentSizeBytes: 256 << 20 },
  commitlog: { segmentSizeBytes: 256 << 20 },
};
const TARGETS: Record<string, string> = { "partitioned-log": "≥ 1.6", commitlog: "≥ 1.2" };

/** One or two threads doing slices of the same work. */
interface Contender {
  slice(chunkCount: number, isHelped: boolean): Promise<void>;
  close(): Promise<void>;
}

async function startThread(work: (worker: Worker) => BenchWork, pool: WorkPool): Promise<Worker> {
  const worker = new Worker(new URL("./bench-thread.js", import.meta.url));
  worker.postMessage({ work: work(worker), pool: pool.address } satisfies BenchThreadData);
  await once(worker, "message");
  return worker;
}

function newPool(): WorkPool {
  const address = heap.allocate(256, 64);
  heap.bytes.fill(0, address, address + 256);
  return new WorkPool(address);
}

/** An engine whose own thread and one more append. */
async function engineContender(
  name: string,
  directory: string,
  messageSizeBytes: number,
  lock: string,
): Promise<Contender> {
  let failure: Error | null = null;
  const engine: StorageEngine = await (await loadEngine(name)).open({
    directory,
    storage: new DiskStorage(),
    heap,
    settings: { ...SETTINGS[name], lock },
    listener: {
      acknowledged: () => undefined,
      failed: (_partition, _messageCount, error) => {
        failure = error;
      },
    },
  });
  const runLength = Math.max(1, Math.floor((BATCH_SIZE_BYTES - 61) / (messageSizeBytes + 10)));
  const partitions = await engine.createTopic("bench", 2 * PARTITIONS);
  const own = partitions.slice(0, PARTITIONS);
  const message = new Message(heap, heap.place(new Uint8Array(messageSizeBytes).fill(0x6c)));
  const pool = newPool();
  const worker = await startThread((thread) => {
    const ticket = engine.openWriter!(thread);
    return { kind: "append", ticket, messageSizeBytes, partitions: partitions.slice(PARTITIONS), runLength };
  }, pool);
  let sent = 0;
  const appendChunk = () => {
    for (let i = 0; i < CHUNK; i++, sent++) {
      if (sent % runLength === 0) engine.poll();
      while (!engine.append(own[Math.floor(sent / runLength) % PARTITIONS]!, message, 1_700_000_000_000)) engine.poll();
    }
  };
  return {
    async slice(chunkCount, isHelped) {
      pool.begin(chunkCount, isHelped);
      for (let chunks = 1; pool.take(); chunks++) {
        appendChunk();
        if (chunks % CHUNKS_A_TURN === 0) await turnOfEventLoop();
      }
      while (!pool.isHelpDone) engine.poll();
      while ((engine.dispatchLagBytes?.() ?? 0) > 0) engine.poll(); // what was appended is indexed, too
      if (failure !== null) throw failure;
    },
    async close() {
      await worker.terminate();
      await turnOfEventLoop();
      await engine.flush();
      await engine.close();
      heap.release(pool.address);
    },
  };
}

/** The bare copy or write, at the size at which the engine does it. */
async function bareContender(name: string, directory: string, messageSizeBytes: number): Promise<Contender> {
  const storage = new DiskStorage();
  await mkdir(directory);
  const isCopy = name === "commitlog";
  const sizeBytes = isCopy ? messageSizeBytes + 100 : BATCH_SIZE_BYTES;
  const source = heap.place(new Uint8Array(sizeBytes).fill(0x6c)).byteOffset;
  const works = ["a", "b"].map((name): Exclude<BenchWork, { kind: "append" }> => {
    const file = storage.open(join(directory, name), "create");
    file.allocate(COPY_WINDOW_BYTES + sizeBytes);
    if (!isCopy) return { kind: "write", source, sizeBytes, descriptor: file.descriptor! };
    const target = heap.reserveWindow(COPY_WINDOW_BYTES);
    file.map(target, COPY_WINDOW_BYTES, 0);
    return { kind: "copy", source, sizeBytes, target };
  });
  const chunk = bareChunk(works[0]!);
  const pool = newPool();
  const worker = await startThread(() => works[1]!, pool);
  return {
    async slice(chunkCount, isHelped) {
      pool.begin(chunkCount, isHelped);
      while (pool.take()) chunk();
      while (!pool.isHelpDone) await turnOfEventLoop();
    },
    async close() {
      await worker.terminate();
      heap.release(source);
      heap.release(pool.address);
    },
  };
}

/** Chunks a second alone and with a helper, by round. */
async function compare(contender: Contender, rounds: number, chunkCount: number): Promise<[number[], number[]]> {
  const rates: [number[], number[]] = [[], []];
  const order: (0 | 1)[] = [0, 1];
  for (let round = -WARMUP_ROUNDS; round < rounds; round++) {
    for (const helpers of order) {
      const startedNs = process.hrtime.bigint();
      await contender.slice(chunkCount, helpers === 1);
      const rate = chunkCount / (Number(process.hrtime.bigint() - startedNs) / 1e9);
      if (round >= 0) rates[helpers].push(rate);
    }
    order.reverse();
  }
  await contender.close();
  return rates;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

const options = new Command("bench:writers")
  .description("Compares one thread that appends with two, alternating, as ratios.")
  .option("--rounds <n>", "counted rounds per comparison", positiveInteger, 15)
  .option("--mib <n>", "payload per slice, MiB", positiveInteger, 8)
  .option("--only <text>", "only comparisons whose name contains this", "")
  .parse()
  .opts<{ rounds: number; mib: number; only: string }>();

const comparisons = Object.keys(SETTINGS).flatMap((engine) =>
  [1_024, 100].flatMap((messageSizeBytes) =>
    [...LOCK_KINDS, "bare"].map((lock) => ({ engine, messageSizeBytes, lock, name: `${engine} ${lock}` })),
  ),
);
const chosen = comparisons.filter(({ name }) => name.includes(options.only));
if (chosen.length === 0) {
  console.error(
    `No comparison contains "${options.only}". There are: ${comparisons.map(({ name }) => name).join("; ")}.`,
  );
  process.exit(2);
}
const parent = await mkdtemp(join(process.cwd(), ".logduel-bench-"));
const table = new Table({
  style: process.stdout.isTTY ? {} : { head: [], border: [] },
  head: ["engine", "message", "lock", "one thread", "two threads", "ratio (quartiles)", "target"],
});
try {
  for (const { engine, messageSizeBytes, lock } of chosen) {
    const directory = join(parent, "data");
    const isBare = lock === "bare";
    const contender = isBare
      ? await bareContender(engine, directory, messageSizeBytes)
      : await engineContender(engine, directory, messageSizeBytes, lock);
    const isWrite = isBare && engine === "partitioned-log";
    const pieceBytes = isWrite ? BATCH_SIZE_BYTES : messageSizeBytes;
    const chunkCount = Math.max(2, Math.round((options.mib << 20) / pieceBytes / CHUNK));
    const [one, two] = await compare(contender, options.rounds, chunkCount);
    await rm(directory, { recursive: true, force: true });
    const rate = (rates: number[]) => `${((median(rates) * CHUNK) / 1e3).toFixed(0)} k/s`;
    const ratios = two.map((value, round) => value / one[round]!);
    const quartiles = [0.25, 0.75].map((p) => quantile(ratios, p).toFixed(2)).join(" – ");
    const what = isWrite ? `${BATCH_SIZE_BYTES} B` : `${messageSizeBytes} B`;
    const bareName = isWrite ? "bare writes" : "bare copies";
    table.push([
      engine,
      what,
      isBare ? bareName : lock,
      rate(one),
      rate(two),
      `${median(ratios).toFixed(2)} (${quartiles})`,
      isBare ? "" : TARGETS[engine]!,
    ]);
    console.error(`${engine}, ${what}, ${isBare ? bareName : lock}: done`);
  }
} finally {
  await rm(parent, { recursive: true, force: true });
}
console.log(table.toString());
console.log("D1, closed loop, asynchronous flush; messages, copies or writes a second, all threads together.");

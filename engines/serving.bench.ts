/**
 * How fast each engine serves a consumer over a Unix socket (`serve`), beside the plain calls of the same transfer over the
 * same files in chunks of the same size: MB/s, and the one as a share of the other, paired run by run.
 *
 *   node dist/engines/serving.bench.js [--rounds 21] [--cold-rounds 5] [--megabytes 32] [--chunks 65536,1048576] [--window 8]
 *
 * And the same from a cold page cache: closed, its files taken out of the cache, opened again and served, with what the
 * device read meanwhile, by the kernel's count, as a share of what was sent. Where that is below 90 %, or pages stayed in
 * the cache, the figure is none, and the row says that it is not cold on this device. Linux.
 *
 * Messages of 1 KiB, hot in the page cache but for those rows. With 8 queues the commitlog's records of one queue are scattered: so are its
 * sends, of which a window waits at a time (8, or 1 to 8). The receiver is the process of `storage/transfer.bench.js`; the clock runs until the socket has taken everything.
 */

import { fork } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commitlog } from "./commitlog/index.js";
import { type EngineDefinition, Message, type PartitionHandle, type StorageEngine } from "./engine.js";
import { heap } from "./heap.js";
import { partitionedLog } from "./partitioned-log/index.js";
import { deviceReads, makeCold } from "./storage/cold-reads.js";
import { DiskStorage } from "./storage/disk-storage.js";
import { STALL_MS, TRANSFER_PATHS, type TransferPath, transferSource } from "./storage/transfer.js";
import { duplicateBlocking } from "./storage/transfer-calls.js";

const MESSAGE_SIZE_BYTES = 1_024;
/** Of what is sent, so much at least comes from the device, or it was not cold; a little is read by opening. */
const LEAST_COLD_SHARE = 0.9;
const RECEIVER = fileURLToPath(new URL("./storage/transfer.bench.js", import.meta.url));

interface Subject {
  readonly name: string;
  readonly definition: EngineDefinition;
  /** Nothing of the log is to be faulted in before it is served. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly queueCount: number;
  /** Where its log's files are, below its directory. */
  readonly logDirectory: string;
  readonly isLog: (name: string) => boolean;
}

const SUBJECTS: readonly Subject[] = [
  {
    name: "partitioned-log",
    definition: partitionedLog,
    settings: {},
    queueCount: 1,
    logDirectory: "t-0",
    isLog: (name) => name.endsWith(".log"),
  },
  ...[1, 8].map((queueCount) => ({
    name: queueCount === 1 ? "commitlog" : `commitlog, ${queueCount} queues`,
    ...{ definition: commitlog, settings: { warmUp: "none" }, queueCount },
    ...{ logDirectory: "commitlog", isLog: () => true },
  })),
];

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "21" },
    "cold-rounds": { type: "string", default: "5" },
    megabytes: { type: "string", default: "32" },
    chunks: { type: "string", default: "65536,1048576" },
    window: { type: "string", default: "8" },
  },
});
const rounds = Number(values.rounds);
const coldRounds = Number(values["cold-rounds"]);
const messageCount = Math.ceil((Number(values.megabytes) * 1e6) / MESSAGE_SIZE_BYTES);
const window = Number(values.window);
const chunks = values.chunks.split(",").map(Number);

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-serving-bench-"));
const socketPath = path.join(directory, "socket");
const receiver = fork(RECEIVER, [socketPath]);
try {
  await once(receiver, "message");
  console.log("engine               chunk KiB  path      serve MB/s  plain MB/s   serve/plain: median (range)");
  const hot = new Map<string, number>();
  const roots = SUBJECTS.map((_, i) => path.join(directory, String(i)));
  for (const [i, subject] of SUBJECTS.entries()) await compare(subject, roots[i]!, hot);
  if (process.platform === "linux" && coldRounds > 0) {
    console.log(
      "\nengine               chunk KiB  path       cold MB/s   cold/hot   read from the device, of what was sent",
    );
    for (const [i, subject] of SUBJECTS.entries()) await serveCold(subject, roots[i]!, hot);
  }
} finally {
  receiver.disconnect();
  fs.rmSync(directory, { recursive: true });
}

/** @param hot gets the median MB/s of each row */
async function compare(subject: Subject, root: string, hot: Map<string, number>): Promise<void> {
  for (const transfer of TRANSFER_PATHS) {
    const engine = await open(subject, root, transfer);
    const queues = await engine.createTopic("t", subject.queueCount);
    if (transfer === TRANSFER_PATHS[0]) await fill(engine, queues);
    for (const chunkBytes of chunks) {
      const served: number[] = [];
      const plain: number[] = [];
      for (let round = -1; round < rounds; round++) {
        const runs = [
          async () => served.push(await serveAll(engine, queues, chunkBytes)),
          async () => plain.push(await sendPlainly(subject, root, transfer, chunkBytes)),
        ];
        if (round % 2 === 0) runs.reverse();
        for (const run of runs) await run();
      }
      hot.set(rowName(subject.name, chunkBytes, transfer), median(served.slice(1))); // the first ones warm up
      print(subject.name, chunkBytes, transfer, served.slice(1), plain.slice(1));
    }
    await engine.close();
  }
}

function open({ definition, settings: own }: Subject, root: string, transfer: TransferPath): Promise<StorageEngine> {
  const listener = { acknowledged() {}, failed() {} };
  const settings = { transfer, segmentSizeBytes: 256 << 20, preallocate: false, ...own };
  return definition.open({ directory: root, storage: new DiskStorage(), heap, settings, listener });
}

/** Each round in an engine of its own, as what it has mapped stays in the cache. */
async function serveCold(subject: Subject, root: string, hot: ReadonlyMap<string, number>): Promise<void> {
  for (const transfer of TRANSFER_PATHS) {
    for (const chunkBytes of chunks) {
      const speeds: number[] = [];
      const shares: number[] = [];
      let residentBytes = 0;
      for (let round = 0; round < coldRounds; round++) {
        const files = logFilesOf(subject, root);
        for (const file of files) residentBytes += makeCold(file, true).residentBytes;
        const engine = await open(subject, root, transfer);
        const queues = await engine.createTopic("t", subject.queueCount);
        const before = deviceReads(files[0]!).processBytes;
        speeds.push(await serveAll(engine, queues, chunkBytes));
        shares.push((deviceReads(files[0]!).processBytes - before) / (messageCount * MESSAGE_SIZE_BYTES));
        await engine.close();
      }
      const row = rowName(subject.name, chunkBytes, transfer);
      const share = `${(median(shares) * 100).toFixed(0)} %`;
      if (residentBytes > 0 || Math.min(...shares) < LEAST_COLD_SHARE) {
        console.log(`${row}   not cold on this device: ${residentBytes} bytes stayed in the cache, ${share} were read`);
        continue;
      }
      const speed = median(speeds);
      const ratio = (speed / hot.get(row)!).toFixed(2).padStart(9);
      console.log(`${row}  ${speed.toFixed(0).padStart(10)}  ${ratio}   ${share}`);
    }
  }
}

function logFilesOf(subject: Subject, root: string): string[] {
  const logDirectory = path.join(root, subject.logDirectory);
  return fs
    .readdirSync(logDirectory)
    .filter(subject.isLog)
    .map((name) => path.join(logDirectory, name));
}

async function fill(engine: StorageEngine, queues: readonly PartitionHandle[]): Promise<void> {
  const message = new Message(heap, new Uint8Array(MESSAGE_SIZE_BYTES).fill(0x61));
  for (let i = 0; i < messageCount; i++) {
    while (!engine.append(queues[i % queues.length]!, message, Date.now())) engine.poll();
    engine.poll();
  }
  await engine.flush();
}

/** @returns MB/s */
async function serveAll(
  engine: StorageEngine,
  queues: readonly PartitionHandle[],
  chunkBytes: number,
): Promise<number> {
  const consumer = engine.serve!(await connect());
  await consumer.send(queues[0]!, 0, 1); // its thread has started
  const startedNs = process.hrtime.bigint();
  let sentBytes = 0;
  const waiting: Promise<void>[] = [];
  for (const queue of queues) {
    for (let next = 0; ; ) {
      if (waiting.length === window) await waiting.shift();
      const { outcome, sent } = consumer.queue(queue, next, chunkBytes);
      if (outcome.sizeBytes === 0) break;
      waiting.push(sent);
      sentBytes += outcome.sizeBytes;
      next = outcome.nextOffset;
    }
  }
  await Promise.all(waiting);
  const elapsedNs = Number(process.hrtime.bigint() - startedNs);
  await consumer.close();
  return sentBytes / 1e6 / (elapsedNs / 1e9);
}

/** @returns MB/s */
async function sendPlainly(
  subject: Subject,
  root: string,
  transfer: TransferPath,
  chunkBytes: number,
): Promise<number> {
  const socket = await connect();
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } };
  const socketFd = duplicateBlocking(handle.fd, STALL_MS);
  socket.destroy();
  const fds = logFilesOf(subject, root).map((file) => fs.openSync(file, "r"));
  const startedNs = process.hrtime.bigint();
  let sentBytes = 0;
  for (const fd of fds) {
    const source = transferSource(transfer, fd);
    const endBytes = Math.min(fs.fstatSync(fd).size, messageCount * MESSAGE_SIZE_BYTES); // no zeros behind the log
    for (let at = 0; at < endBytes; at += chunkBytes) {
      sentBytes += source.send(socketFd, at, Math.min(chunkBytes, endBytes - at));
    }
    source.close();
  }
  const elapsedNs = Number(process.hrtime.bigint() - startedNs);
  for (const fd of [...fds, socketFd]) fs.closeSync(fd);
  return sentBytes / 1e6 / (elapsedNs / 1e9);
}

async function connect(): Promise<net.Socket> {
  const socket = net.connect(socketPath);
  await once(socket, "connect");
  return socket;
}

function print(name: string, chunkBytes: number, transfer: string, served: number[], plain: number[]): void {
  const ratios = served.map((each, i) => each / plain[i]!);
  const speeds = [served, plain].map((each) => median(each).toFixed(0).padStart(10)).join("  ");
  const ratio = `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
  console.log(`${rowName(name, chunkBytes, transfer)}  ${speeds}   ${ratio}`);
}

function rowName(name: string, chunkBytes: number, transfer: string): string {
  return `${name.padEnd(19)}  ${String(chunkBytes / 1_024).padStart(9)}  ${transfer.padEnd(8)}`;
}

function median(of: readonly number[]): number {
  const sorted = [...of].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

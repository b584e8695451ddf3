/**
 * How fast each engine serves a consumer over a Unix socket (`serve`), beside the plain calls of the same transfer over the
 * same files in chunks of the same size: MB/s, and the one as a share of the other, paired run by run.
 *
 *   node dist/engines/serving.bench.js [--rounds 21] [--megabytes 32] [--chunks 65536,1048576] [--window 8]
 *
 * Messages of 1 KiB, hot in the page cache. With 8 queues the commitlog's records of one queue are scattered: so are its
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
import { DiskStorage } from "./storage/disk-storage.js";
import { STALL_MS, TRANSFER_PATHS, type TransferPath, transferSource } from "./storage/transfer.js";
import { duplicateBlocking } from "./storage/transfer-calls.js";

const MESSAGE_SIZE_BYTES = 1_024;
const RECEIVER = fileURLToPath(new URL("./storage/transfer.bench.js", import.meta.url));

interface Subject {
  readonly name: string;
  readonly definition: EngineDefinition;
  readonly queueCount: number;
  /** Where its log's files are, below its directory. */
  readonly logDirectory: string;
  readonly isLog: (name: string) => boolean;
}

const SUBJECTS: readonly Subject[] = [
  {
    name: "partitioned-log",
    definition: partitionedLog,
    queueCount: 1,
    logDirectory: "t-0",
    isLog: (name) => name.endsWith(".log"),
  },
  { name: "commitlog", definition: commitlog, queueCount: 1, logDirectory: "commitlog", isLog: () => true },
  { name: "commitlog, 8 queues", definition: commitlog, queueCount: 8, logDirectory: "commitlog", isLog: () => true },
];

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "21" },
    megabytes: { type: "string", default: "32" },
    chunks: { type: "string", default: "65536,1048576" },
    window: { type: "string", default: "8" },
  },
});
const rounds = Number(values.rounds);
const messageCount = Math.ceil((Number(values.megabytes) * 1e6) / MESSAGE_SIZE_BYTES);
const window = Number(values.window);
const chunks = values.chunks.split(",").map(Number);

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-serving-bench-"));
const socketPath = path.join(directory, "socket");
const receiver = fork(RECEIVER, [socketPath]);
try {
  await once(receiver, "message");
  console.log("engine               chunk KiB  path      serve MB/s  plain MB/s   serve/plain: median (range)");
  for (const [i, subject] of SUBJECTS.entries()) await compare(subject, path.join(directory, String(i)));
} finally {
  receiver.disconnect();
  fs.rmSync(directory, { recursive: true });
}

async function compare(subject: Subject, root: string): Promise<void> {
  for (const transfer of TRANSFER_PATHS) {
    const listener = { acknowledged() {}, failed() {} };
    const settings = { transfer, segmentSizeBytes: 256 << 20, preallocate: false };
    const storage = new DiskStorage();
    const engine = await subject.definition.open({ directory: root, storage, heap, settings, listener });
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
      print(subject.name, chunkBytes, transfer, served.slice(1), plain.slice(1)); // the first ones warm up
    }
    await engine.close();
  }
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
  const logDirectory = path.join(root, subject.logDirectory);
  const files = fs.readdirSync(logDirectory).filter(subject.isLog);
  const fds = files.map((name) => fs.openSync(path.join(logDirectory, name), "r"));
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
  const chunk = String(chunkBytes / 1_024).padStart(9);
  console.log(`${name.padEnd(19)}  ${chunk}  ${transfer.padEnd(8)}  ${speeds}   ${ratio}`);
}

function median(of: readonly number[]): number {
  const sorted = [...of].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

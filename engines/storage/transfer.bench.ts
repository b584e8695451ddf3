/**
 * How fast file ranges reach a socket by each path, and at what cost of CPU, beside a C program that makes the same calls
 * (where a C compiler is): MB/s, CPU µs per MB, and Node's speed as a share of C's, paired run by run.
 *
 *   node dist/engines/storage/transfer.bench.js [--rounds 41] [--megabytes 32] [--chunks 4096,65536] [--sockets unix,tcp]
 *
 * The file is hot in the page cache; the receiver is a process of its own that reads as fast as it can through the same
 * kind of blocking call. The clock runs until it has said that it got all. Runs alternate: in each round every path and
 * sender once, in an order that turns round by round. Runs are short and many, since on a busy machine a short one fits
 * between two preemptions.
 */

import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { addressOf, declareCall } from "./libc.js";
import { STALL_MS, TRANSFER_PATHS, type TransferPath, transferSource } from "./transfer.js";
import { duplicateBlocking } from "./transfer-calls.js";

const FILE_SIZE_BYTES = 64 << 20;
const RECEIVE_BUFFER_SIZE_BYTES = 1 << 20;
const C_SOURCE = fileURLToPath(new URL("../../../engines/storage/transfer.bench.c", import.meta.url));

type SocketKind = "unix" | "tcp";
interface Figures {
  readonly megabytesPerSecond: number;
  readonly cpuUsPerMegabyte: number;
}
type Read = (fd: number, address: number, sizeBytes: number) => number;
const read = declareCall<Read>("int64_t read(int, uintptr_t, size_t)");
const SHUT_WR = 1;
const shutdown = declareCall<(fd: number, how: number) => number>("int shutdown(int, int)");

if (process.send === undefined) await compare();
else receive(process.argv[2]!);

/** The receiver's process: reads each connection to its end and answers with one byte. */
function receive(socketPath: string): void {
  const buffer = new Uint8Array(RECEIVE_BUFFER_SIZE_BYTES);
  const address = addressOf(buffer);
  const serve = (socket: net.Socket) => {
    const fd = takeOver(socket);
    while (read(fd, address, buffer.byteLength) > 0);
    try {
      fs.writeSync(fd, "!");
    } catch {
      // a sender that does not wait for the answer
    }
    fs.closeSync(fd);
  };
  const unix = net.createServer({ pauseOnConnect: true }, serve).listen(socketPath);
  const tcp = net.createServer({ pauseOnConnect: true }, serve).listen(0, "127.0.0.1", () => {
    process.send!((tcp.address() as net.AddressInfo).port);
  });
  process.on("disconnect", () => {
    unix.close();
    tcp.close();
  });
}

function takeOver(socket: net.Socket): number {
  const fd = duplicateBlocking(
    (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd,
    STALL_MS,
  );
  socket.destroy();
  return fd;
}

async function compare(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "41" },
      megabytes: { type: "string", default: "32" },
      chunks: { type: "string", default: "4096,16384,65536,262144,1048576,4194304" },
      sockets: { type: "string", default: "unix,tcp" },
    },
  });
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-transfer-bench-"));
  try {
    await compareIn(directory, {
      rounds: Number(values.rounds),
      totalBytes: Number(values.megabytes) * 1e6,
      chunks: values.chunks.split(",").map(Number),
      sockets: values.sockets.split(",") as SocketKind[],
    });
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

interface Plan {
  readonly rounds: number;
  readonly totalBytes: number;
  readonly chunks: readonly number[];
  readonly sockets: readonly SocketKind[];
}

async function compareIn(directory: string, plan: Plan): Promise<void> {
  const file = path.join(directory, "file");
  const block = Buffer.alloc(1 << 20);
  for (let at = 0; at < block.byteLength; at += 4) block.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  for (let at = 0; at < FILE_SIZE_BYTES; at += block.byteLength) fs.appendFileSync(file, block);
  const fd = fs.openSync(file, "r");
  const cProgram = compile(directory);
  if (cProgram === null) console.log("The C program cannot be built here: Node's figures only.");

  const socketPath = path.join(directory, "socket");
  const receiver = fork(fileURLToPath(import.meta.url), [socketPath]);
  const [port] = (await once(receiver, "message")) as [number];
  const addresses = { unix: socketPath, tcp: String(port) };

  console.log("socket  chunk KiB  path      Node MB/s  CPU µs/MB     C MB/s  CPU µs/MB   Node/C: median (range)");
  for (const kind of plan.sockets) {
    for (const chunkBytes of plan.chunks) {
      const totalBytes = Math.ceil(plan.totalBytes / chunkBytes) * chunkBytes;
      const figures = TRANSFER_PATHS.map((transfer) => ({ transfer, node: [] as Figures[], c: [] as Figures[] }));
      for (let round = -1; round < plan.rounds; round++) {
        for (let turn = 0; turn < figures.length; turn++) {
          const { transfer, node, c } = figures[(turn + round + figures.length) % figures.length]!;
          const runNode = async () => {
            const result = await sendFromNode(kind, addresses[kind], transfer, chunkBytes, totalBytes, fd);
            if (round >= 0) node.push(result); // the round before the first warms up
          };
          if (round % 2 === 0) await runNode();
          if (cProgram !== null) {
            const result = sendFromC(cProgram, kind, addresses[kind], transfer, chunkBytes, totalBytes, file);
            if (round >= 0) c.push(result);
          }
          if (round % 2 !== 0) await runNode();
        }
      }
      for (const { transfer, node, c } of figures) print(kind, chunkBytes, transfer, node, c);
    }
  }
  receiver.disconnect();
  await once(receiver, "exit");
  fs.closeSync(fd);
}

function compile(directory: string): string | null {
  const program = path.join(directory, "sender");
  try {
    execFileSync(process.env.CC ?? "cc", ["-O2", "-o", program, C_SOURCE], { stdio: ["ignore", "ignore", "inherit"] });
    return program;
  } catch {
    return null;
  }
}

async function sendFromNode(
  kind: SocketKind,
  address: string,
  transfer: TransferPath,
  chunkBytes: number,
  totalBytes: number,
  fd: number,
): Promise<Figures> {
  const socket = kind === "unix" ? net.connect(address) : net.connect(Number(address), "127.0.0.1");
  await once(socket, "connect");
  if (kind === "tcp") socket.setNoDelay(true);
  const socketFd = takeOver(socket);
  const answer = new Uint8Array(1);
  const source = transferSource(transfer, fd);

  const started = process.hrtime.bigint();
  const cpuBefore = process.cpuUsage();
  let position = 0;
  for (let sent = 0; sent < totalBytes; sent += chunkBytes) {
    source.send(socketFd, position, chunkBytes);
    position += chunkBytes;
    if (position + chunkBytes > FILE_SIZE_BYTES) position = 0;
  }
  shutdown(socketFd, SHUT_WR);
  fs.readSync(socketFd, answer);
  const { user, system } = process.cpuUsage(cpuBefore);
  const elapsedNs = Number(process.hrtime.bigint() - started);

  source.close();
  fs.closeSync(socketFd);
  return figuresOf(totalBytes, elapsedNs, (user + system) * 1e3);
}

function sendFromC(
  program: string,
  kind: SocketKind,
  address: string,
  transfer: TransferPath,
  chunkBytes: number,
  totalBytes: number,
  file: string,
): Figures {
  const output = execFileSync(program, [kind, address, transfer, String(chunkBytes), String(totalBytes), file]);
  const [elapsedNs, cpuNs] = output.toString().split(" ").map(Number);
  return figuresOf(totalBytes, elapsedNs!, cpuNs!);
}

function figuresOf(totalBytes: number, elapsedNs: number, cpuNs: number): Figures {
  const megabytes = totalBytes / 1e6;
  return { megabytesPerSecond: megabytes / (elapsedNs / 1e9), cpuUsPerMegabyte: cpuNs / 1e3 / megabytes };
}

function print(kind: SocketKind, chunkBytes: number, transfer: TransferPath, node: Figures[], c: Figures[]): void {
  const column = (figures: Figures[]) =>
    figures.length === 0
      ? "         –          –"
      : median(figures.map((one) => one.megabytesPerSecond))
          .toFixed(0)
          .padStart(10) +
        median(figures.map((one) => one.cpuUsPerMegabyte))
          .toFixed(0)
          .padStart(11);
  const ratios = c.map((one, i) => node[i]!.megabytesPerSecond / one.megabytesPerSecond);
  const ratio =
    ratios.length === 0
      ? ""
      : `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
  const row = `${kind.padEnd(6)}  ${String(chunkBytes / 1_024).padStart(9)}  ${transfer.padEnd(8)}`;
  console.log(`${row} ${column(node)} ${column(c)}   ${ratio}`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

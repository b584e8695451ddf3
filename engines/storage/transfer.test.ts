import { execFile } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ClosedError, ReceiverGoneError, UnsupportedError } from "../errors.js";
import { type AttachedFile, type AttachedRange, ConsumerThread } from "./consumer-thread.js";
import { sendRanges, TRANSFER_PATHS, transferSource } from "./transfer.js";

const MIB = 1 << 20;
/** More than any socket buffers: its end is only sent once its beginning was read. */
const FILE_SIZE_BYTES = 24 * MIB + 12_345;

let directory: string;
let content: Buffer;
let file: string;
let fd: number;
const servers: net.Server[] = [];
const sockets: net.Socket[] = [];
const threads: ConsumerThread[] = [];

beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-transfer-"));
  content = Buffer.alloc(FILE_SIZE_BYTES);
  for (let at = 0; at + 4 <= FILE_SIZE_BYTES; at += 4) content.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  file = path.join(directory, "content");
  fs.writeFileSync(file, content);
});
beforeEach(() => {
  fd = fs.openSync(file, "r");
});
afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.close()));
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  fs.closeSync(fd);
});
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

describe.each(TRANSFER_PATHS)("%s", (transfer) => {
  it.each(["unix", "tcp"] as const)("sends the bytes of any range to a %s socket", async (kind) => {
    const { thread, consumer } = await connect(kind);
    const source = await thread.attach(fd, transfer);
    const ranges = fc.oneof(
      fc.tuple(fc.nat(FILE_SIZE_BYTES), fc.integer({ min: 1, max: 5_000 })),
      fc.tuple(fc.nat(FILE_SIZE_BYTES), fc.integer({ min: 1, max: 700_000 })),
      fc.tuple(
        fc.nat(20).map((page) => page * 4_096),
        fc.constantFrom(4_095, 4_096, 4_097, 262_144, 262_145),
      ),
    );
    await fc.assert(
      fc.asyncProperty(ranges, async ([position, size]) => {
        const expected = content.subarray(position, position + size);
        const [sent, received] = await Promise.all([
          thread.send([range(source, position, size)]),
          receive(consumer, expected.byteLength),
        ]);
        expect(sent).toBe(expected.byteLength);
        expect(Buffer.compare(received, expected)).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  it("sends ranges of several files behind one another, up to one that its file does not have whole", async () => {
    const { thread, consumer } = await connect("tcp");
    const small = path.join(directory, `several-${transfer}`);
    fs.writeFileSync(small, content.subarray(0, 1_000));
    const smallFd = fs.openSync(small, "r");
    const a = await thread.attach(fd, transfer);
    const b = await thread.attach(smallFd, transfer);
    expect(await thread.send([range(a, 70_000, 50), range(b, 100, 200), range(a, 5, 90_000)])).toBe(90_250);
    const expected = [content.subarray(70_000, 70_050), content.subarray(100, 300), content.subarray(5, 90_005)];
    expect(await receive(consumer, 90_250)).toEqual(Buffer.concat(expected));
    expect(await thread.send([range(b, 0, 10), range(b, 990, 20), range(a, 0, 10)])).toBe(20);
    expect(await receive(consumer, 20)).toEqual(Buffer.concat([content.subarray(0, 10), content.subarray(990, 1_000)]));
    const blocked = thread.send([range(b, 0, 1_000), range(a, 0, FILE_SIZE_BYTES)]);
    blocked.catch(() => {});
    await receive(consumer, 1_000);
    consumer.destroy();
    const error = (await blocked.catch((failure: unknown) => failure)) as ReceiverGoneError;
    expect(error).toBeInstanceOf(ReceiverGoneError);
    expect(error.sentBytes).toBeGreaterThanOrEqual(1_000);
    await thread.detach(b);
    fs.closeSync(smallFd);
  });

  it("sends scattered ranges of any sizes behind one another", async () => {
    const { thread, consumer } = await connect("unix");
    const source = await thread.attach(fd, transfer);
    const sizes = fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.constantFrom(262_143, 262_144, 262_145, 300_000));
    const scattered = fc.array(fc.tuple(fc.nat(FILE_SIZE_BYTES - 300_000), sizes), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(scattered, async (ranges) => {
        const expected = Buffer.concat(ranges.map(([position, size]) => content.subarray(position, position + size)));
        const [sent, received] = await Promise.all([
          thread.send(ranges.map(([position, size]) => range(source, position, size))),
          receive(consumer, expected.byteLength),
        ]);
        expect(sent).toBe(expected.byteLength);
        expect(Buffer.compare(received, expected)).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it("waits for a receiver that reads in small steps and stops for several stalls, and loses nothing", async () => {
    const { thread, consumer } = await connect("unix");
    const source = await thread.attach(fd, transfer);
    const sent = thread.send([range(source, 1, FILE_SIZE_BYTES - 1)]);
    const parts: Buffer[] = [];
    let size = 0;
    for (let step = 0; size < FILE_SIZE_BYTES - 1; step++) {
      if (step < 3) await sleep(step === 1 ? 450 : 20);
      const part = await receive(consumer, step < 100 ? 777 : Math.min(300_000, FILE_SIZE_BYTES - 1 - size));
      parts.push(part);
      size += part.byteLength;
    }
    expect(await sent).toBe(FILE_SIZE_BYTES - 1);
    expect(Buffer.compare(Buffer.concat(parts), content.subarray(1))).toBe(0);
  });

  it("leaves the caller's thread free while a receiver does not read", async () => {
    const { thread, consumer } = await connect("tcp");
    const { thread: other, consumer: reader } = await connect("tcp");
    const stuck = thread.send([range(await thread.attach(fd, transfer), 0, FILE_SIZE_BYTES)]);
    const [sent, received] = await Promise.all([
      other.send([range(await other.attach(fd, transfer), 5, 100_000)]),
      receive(reader, 100_000),
    ]);
    expect(sent).toBe(100_000);
    expect(Buffer.compare(received, content.subarray(5, 100_005))).toBe(0);
    const whole = receive(consumer, FILE_SIZE_BYTES);
    expect(await stuck).toBe(FILE_SIZE_BYTES);
    expect(Buffer.compare(await whole, content)).toBe(0);
  });

  it("says that the receiver has gone, whether it was sending or not", async () => {
    for (const kind of ["unix", "tcp"] as const) {
      const { thread, consumer } = await connect(kind);
      const source = await thread.attach(fd, transfer);
      const blocked = thread.send([range(source, 0, FILE_SIZE_BYTES)]);
      blocked.catch(() => {});
      await receive(consumer, 100_000);
      consumer.destroy();
      const error = (await blocked.catch((failure: unknown) => failure)) as ReceiverGoneError;
      expect(error).toBeInstanceOf(ReceiverGoneError);
      expect(error.sentBytes).toBeGreaterThanOrEqual(100_000);
      expect(error.sentBytes).toBeLessThan(FILE_SIZE_BYTES);
      await expect(thread.send([range(source, 0, 10)])).rejects.toThrow(ReceiverGoneError);
    }
  });

  it("sends what there is of a range beyond the file's end", async () => {
    const small = path.join(directory, `small-${transfer}`);
    fs.writeFileSync(small, content.subarray(0, 10_000));
    const { thread, consumer } = await connect("unix");
    const growing = fs.openSync(small, "r+");
    const source = await thread.attach(growing, transfer);
    expect(await thread.send([range(source, 9_000, 5_000)])).toBe(1_000);
    expect(await receive(consumer, 1_000)).toEqual(content.subarray(9_000, 10_000));
    expect(await thread.send([range(source, 10_000, 1)])).toBe(0);
    expect(await thread.send([range(source, 50_000, 5_000)])).toBe(0);
    fs.ftruncateSync(growing, 9_500); // within a page that is mapped by now: no zeros from behind the end
    expect(await thread.send([range(source, 9_000, 5_000)])).toBe(500);
    expect(await receive(consumer, 500)).toEqual(content.subarray(9_000, 9_500));
    fs.ftruncateSync(growing, 0);
    expect(await thread.send([range(source, 0, 100)])).toBe(0);
    fs.writeSync(growing, content, 0, 20_000, 0);
    expect(await thread.send([range(source, 19_990, 100)])).toBe(10);
    expect(await receive(consumer, 10)).toEqual(content.subarray(19_990, 20_000));
    await thread.detach(source);
    fs.closeSync(growing);
  });

  it("sends of a stream nothing behind a part that was not all there", async () => {
    const { thread, consumer } = await connect("unix");
    const source = await thread.attach(fd, transfer);
    expect(await thread.sendNext([range(source, 0, 10)])).toBe(10);
    const short = thread.sendNext([range(source, FILE_SIZE_BYTES - 3, 10)]);
    const behind = thread.sendNext([range(source, 0, 10)]);
    behind.catch(() => {});
    expect(await short).toBe(3);
    await expect(behind).rejects.toThrow(ClosedError);
    await thread.close();
    const received = await receive(consumer, 13);
    expect(received).toEqual(Buffer.concat([content.subarray(0, 10), content.subarray(-3)]));
    expect(consumer.readableLength).toBe(0);
  });

  it("ends a blocked send when it is closed, and takes no more", async () => {
    const { thread } = await connect("unix");
    const source = await thread.attach(fd, transfer);
    const blocked = thread.send([range(source, 0, FILE_SIZE_BYTES)]);
    const queued = thread.send([range(source, 0, 10)]);
    blocked.catch(() => {});
    queued.catch(() => {});
    await sleep(50);
    await thread.close();
    await expect(blocked).rejects.toThrow(ClosedError);
    await expect(queued).rejects.toThrow(ClosedError);
    await expect(thread.send([range(source, 0, 10)])).rejects.toThrow(ClosedError);
  });

  it("sends over a socket that does not block as well, on this thread", async () => {
    const { server, consumer } = await pair("unix");
    const source = transferSource(transfer, fd);
    expect(source.send(descriptorOf(server), 3, 50_001)).toBe(50_001);
    expect(await receive(consumer, 50_001)).toEqual(content.subarray(3, 50_004));
    expect(() => source.send(1_000_000, 0, 1)).toThrow(/EBADF/);
    source.close();
  });

  it("fails with the system's error where the file is not open for reading", async () => {
    const { server } = await pair("unix");
    const writeOnly = fs.openSync(path.join(directory, "write-only"), "w");
    fs.writeSync(writeOnly, "abc");
    const source = transferSource(transfer, writeOnly);
    const failure = { sendfile: /EBADF: sendfile/, mmap: /EACCES: mmap/, copy: /EBADF: pread/ }[transfer];
    expect(() => source.send(descriptorOf(server), 0, 3)).toThrow(failure);
    source.close();
    fs.closeSync(writeOnly);
  });
});

it.runIf(process.platform === "linux")("copies scattered ranges into a buffer that leaves in one write", async () => {
  const { server, consumer } = await pair("unix");
  const source = transferSource("copy", fd);
  const ranges = Array.from({ length: 50 }, (_, i) => ({ source, positionBytes: i * 9_000, sizeBytes: 1_000 }));
  const before = writeCallsOfThread();
  expect(sendRanges(descriptorOf(server), ranges)).toBe(50_000);
  expect(writeCallsOfThread() - before).toBe(1);
  const expected = ranges.map(({ positionBytes }) => content.subarray(positionBytes, positionBytes + 1_000));
  expect(Buffer.compare(await receive(consumer, 50_000), Buffer.concat(expected))).toBe(0);
  source.close();
});

it("names what to use where the kernel does not sendfile", async () => {
  const { thread } = await connect("unix");
  const notAFile = fs.openSync(directory, "r");
  const source = await thread.attach(notAFile, "sendfile");
  await expect(thread.send([range(source, 0, 10)])).rejects.toThrow(UnsupportedError);
  await expect(thread.send([range(source, 0, 10)])).rejects.toThrow(/Use the transfer "mmap" or "copy"/);
  await thread.detach(source);
  fs.closeSync(notAFile);
});

it("refuses a connection that is not there any more", async () => {
  const { server } = await pair("unix");
  server.destroy();
  expect(() => new ConsumerThread(server)).toThrow(UnsupportedError);
});

it("lets a process exit although a receiver keeps its thread", async () => {
  const script = `
    import fs from "node:fs";
    import net from "node:net";
    import { ConsumerThread } from ${JSON.stringify(new URL("./consumer-thread.js", import.meta.url).href)};
    const socketPath = ${JSON.stringify(path.join(directory, "exit.sock"))};
    const server = net.createServer({ pauseOnConnect: true }, async (socket) => {
      const thread = new ConsumerThread(socket);
      const file = await thread.attach(fs.openSync(${JSON.stringify(file)}, "r"), "sendfile");
      thread.send([{ file, positionBytes: 0, sizeBytes: ${FILE_SIZE_BYTES} }]).then(() => console.log("sent"));
      setTimeout(() => process.exit(7), 100);
    });
    server.listen(socketPath, () => net.connect(socketPath).pause());
  `;
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 20_000 });
  await expect(run).rejects.toMatchObject({ code: 7, stdout: "", stderr: "" });
});

it("has a benchmark that runs", async () => {
  const benchmark = fileURLToPath(new URL("./transfer.bench.js", import.meta.url));
  const size = ["--rounds", "1", "--megabytes", "1", "--chunks", "65536"];
  const { stdout } = await promisify(execFile)(process.execPath, [benchmark, ...size]);
  for (const kind of ["unix", "tcp"]) {
    for (const transfer of TRANSFER_PATHS) expect(stdout).toMatch(new RegExp(`^${kind} +64  ${transfer} +\\d+ `, "m"));
  }
});

function writeCallsOfThread(): number {
  return Number(/^syscw: (\d+)$/m.exec(fs.readFileSync("/proc/thread-self/io", "utf8"))![1]);
}

function range(file: AttachedFile, positionBytes: number, sizeBytes: number): AttachedRange {
  return { file, positionBytes, sizeBytes };
}

/** A thread that serves and a paused socket that reads from it. */
async function connect(kind: "unix" | "tcp"): Promise<{ thread: ConsumerThread; consumer: net.Socket }> {
  const { server, consumer } = await pair(kind);
  const thread = new ConsumerThread(server);
  threads.push(thread);
  return { thread, consumer };
}

async function pair(kind: "unix" | "tcp"): Promise<{ server: net.Socket; consumer: net.Socket }> {
  const listener = net.createServer({ pauseOnConnect: true });
  servers.push(listener);
  if (kind === "tcp") listener.listen(0, "127.0.0.1");
  else listener.listen(path.join(directory, `${servers.length}.sock`));
  await once(listener, "listening");
  const address = listener.address()!;
  const consumer = typeof address === "string" ? net.connect(address) : net.connect(address.port, address.address);
  const [server] = (await once(listener, "connection")) as [net.Socket];
  sockets.push(server, consumer);
  consumer.on("error", () => {}); // a connection that the other side closes may end with ECONNRESET
  consumer.pause();
  return { server, consumer };
}

function descriptorOf(socket: net.Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

/** Exactly `sizeBytes`, in the steps in which they come. */
async function receive(consumer: net.Socket, sizeBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let left = sizeBytes; left > 0; ) {
    const part = consumer.read(Math.min(left, Math.max(1, consumer.readableLength))) as Buffer | null;
    if (part === null) {
      await once(consumer, "readable");
      continue;
    }
    parts.push(part);
    left -= part.byteLength;
  }
  return Buffer.concat(parts);
}

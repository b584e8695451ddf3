import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Driven, turn, valueAt } from "./engine.contract-driver.js";
import { type Machine, open, SyncHoldingStorage } from "./engine.contract-machine.js";
import type { Consumer, EngineDefinition, MessageVisitor, PartitionHandle } from "./engine.js";
import {
  BusyError,
  ClosedError,
  OffsetOutOfRangeError,
  OpenError,
  ReceiverGoneError,
  UnsupportedError,
} from "./errors.js";
import type { FaultyStorage } from "./storage/faulty-storage.js";
import { TRANSFER_PATHS } from "./storage/transfer.js";

type ReadServed = (bytes: Uint8Array, visit: MessageVisitor) => void;

/** Fills what a socket that is not read holds, several times over. */
const BLOCKING_MESSAGES = 12_000;

/** What an engine that serves consumers over sockets does, for the conformance suite. */
export function describeServing(
  definition: EngineDefinition,
  machine: Machine,
  smallFiles: Readonly<Record<string, unknown>>,
  readServed: ReadServed,
): void {
  if (machine.name !== "on disk") {
    it("says that files in memory cannot be sent to a socket", async () => {
      const driven = await open(definition, machine);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, 1);
      await driven.engine.flush();
      const connection = await connect();
      const consumer = driven.engine.serve!(connection.server);
      await expect(consumer.send(handle!, 0, 1_000)).rejects.toThrow(UnsupportedError);
      await driven.close();
      connection.close();
    });

    it("refuses a consumer that would need more files than the process may open, and names the limit", async () => {
      const driven = await open(definition, machine);
      (machine.storage as FaultyStorage).fileLimit = 70;
      const connection = await connect();
      expect(() => driven.engine.serve!(connection.server)).toThrow(OpenError);
      expect(() => driven.engine.serve!(connection.server)).toThrow(/1 consumers need \d+ open files.* 70\. Raise/);
      (machine.storage as FaultyStorage).fileLimit = Number.POSITIVE_INFINITY;
      driven.engine.serve!(connection.server);
      await driven.close();
      connection.close();
    });
    return;
  }

  describe("serving consumers", () => {
    let connections: Connection[];
    beforeEach(() => {
      connections = [];
    });
    afterEach(() => {
      for (const connection of connections) connection.close();
    });

    async function serve(driven: Driven): Promise<{ consumer: Consumer; receiver: Receiver }> {
      const connection = await connect();
      connections.push(connection);
      return { consumer: driven.engine.serve!(connection.server), receiver: connection.receiver };
    }

    /** Sends a partition to its end. @returns the offsets received, each message compared with what belongs there */
    async function sendAll(
      driven: Driven,
      partition: PartitionHandle,
      { consumer, receiver }: { consumer: Consumer; receiver: Receiver },
      fromOffset: number,
      maxBytes: number,
    ): Promise<number[]> {
      const { topic, index } = driven.progress.get(partition)!;
      const offsets: number[] = [];
      for (let next = fromOffset; ; ) {
        const outcome = await consumer.send(partition, next, maxBytes);
        const bytes = await receiver.take(outcome.sizeBytes);
        let inThisSend = 0;
        readServed(bytes, ({ offset, value }) => {
          if (offset < next) return; // of a batch that is sent whole
          expect(Buffer.compare(value!, valueAt(topic, index, offset))).toBe(0);
          offsets.push(offset);
          inThisSend++;
        });
        expect(outcome).toMatchObject({ messageCount: inThisSend, nextOffset: next + inThisSend });
        if (inThisSend === 0) return offsets;
        next = outcome.nextOffset;
      }
    }

    it.each(TRANSFER_PATHS)("sends by %s what fetch reads, from any offset on, across files", async (transfer) => {
      const driven = await open(definition, machine, { ...smallFiles, transfer });
      const handles = await driven.createTopic("t", 3);
      for (let i = 0; i < 80; i++) {
        for (const handle of handles) await driven.appendMany(handle, 1 + ((i * handle) % 3));
        driven.engine.poll();
      }
      await driven.engine.flush();
      const served = await serve(driven);
      for (const handle of handles) {
        const { endOffset } = driven.engine.partitionInfo(handle);
        for (const [fromOffset, maxBytes] of [
          [0, 1],
          [0, 3_000],
          [1, 20_000],
          [Math.floor(endOffset / 2), 1_000_000],
          [endOffset - 1, 1_000],
          [endOffset, 1_000],
        ] as const) {
          const offsets = await sendAll(driven, handle, served, fromOffset, maxBytes);
          expect(offsets).toEqual(Array.from({ length: endOffset - fromOffset }, (_, i) => fromOffset + i));
        }
      }
      await driven.close();
    });

    it("sends no more than asked for, but at least one message", async () => {
      const driven = await open(definition, machine, smallFiles);
      const [handle] = await driven.createTopic("t", 1);
      for (let i = 0; i < 200; i++) {
        await driven.appendMany(handle!, 1);
        driven.engine.poll();
      }
      await driven.engine.flush();
      const { consumer, receiver } = await serve(driven);
      const first = await consumer.send(handle!, 0, 1);
      expect(first.messageCount).toBeGreaterThan(0);
      await receiver.take(first.sizeBytes);
      const whole = await consumer.send(handle!, 0, 1_000_000);
      expect(whole.nextOffset).toBeGreaterThan(50);
      await receiver.take(whole.sizeBytes);
      for (const maxBytes of [3_000, 6_000, whole.sizeBytes - 1]) {
        const { sizeBytes, nextOffset } = await consumer.send(handle!, 0, maxBytes);
        await receiver.take(sizeBytes);
        expect(sizeBytes).toBeLessThanOrEqual(maxBytes);
        expect(sizeBytes).toBeGreaterThan(maxBytes - 2_500); // the next one would not have fitted
        expect(nextOffset).toBeLessThan(whole.nextOffset);
      }
      await driven.close();
    });

    it("keeps up with what is appended meanwhile", async () => {
      const driven = await open(definition, machine, smallFiles);
      const [handle] = await driven.createTopic("t", 1);
      const served = await serve(driven);
      const offsets: number[] = [];
      for (let round = 0; round < 40; round++) {
        const sending = sendAll(driven, handle!, served, offsets.length, 2_000 + round * 200);
        await driven.appendMany(handle!, 17);
        driven.engine.poll();
        offsets.push(...(await sending));
      }
      await driven.engine.flush();
      offsets.push(...(await sendAll(driven, handle!, served, offsets.length, 100_000)));
      expect(offsets).toEqual(Array.from({ length: 40 * 17 }, (_, i) => i));
      await driven.close();
    });

    it("sends nothing that the flush policy hides", async () => {
      const held = new SyncHoldingStorage(machine.storage);
      const { directory } = machine;
      const driven = await Driven.open(definition, { directory, storage: held.storage, settings: { flush: "sync" } });
      const [handle] = await driven.createTopic("t", 1);
      const { consumer, receiver } = await serve(driven);
      held.isHolding = true;
      await driven.appendMany(handle!, 1);
      for (let i = 0; i < 20; i++) {
        driven.engine.poll();
        await turn();
      }
      const fetched = await driven.engine.fetch(handle!, 0, 1_000, () => {});
      const sent = await consumer.send(handle!, 0, 1_000);
      expect(sent.messageCount).toBe(fetched.messageCount);
      await receiver.take(sent.sizeBytes);
      held.release();
      await driven.engine.flush();
      expect((await consumer.send(handle!, 0, 1_000)).messageCount).toBe(1);
      await driven.close();
    });

    it.each(TRANSFER_PATHS)("goes on with everything else while a consumer does not read (%s)", async (transfer) => {
      const driven = await open(definition, machine, { transfer });
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, BLOCKING_MESSAGES);
      await driven.engine.flush();
      const stuck = await serve(driven);
      const blocked = stuck.consumer.send(handle!, 0, 100_000_000);
      let isOver = false;
      blocked
        .catch(() => {})
        .then(() => {
          isOver = true;
        });
      let waitingCount = 1;
      expect(() => {
        for (; waitingCount < 100; waitingCount++) stuck.consumer.queue(handle!, 0, 1);
      }).toThrow(BusyError);
      expect(waitingCount).toBeGreaterThan(1);
      await expect(stuck.consumer.send(handle!, 0, 1)).rejects.toThrow(BusyError);

      await driven.appendMany(handle!, 500);
      await driven.pollUntilAcknowledged();
      await driven.engine.flush();
      expect((await driven.read(handle!)).rightTo).toBe(BLOCKING_MESSAGES + 500);
      const reading = await serve(driven);
      const offsets = await sendAll(driven, handle!, reading, BLOCKING_MESSAGES - 3, 1_000_000);
      expect(offsets.at(-1)).toBe(BLOCKING_MESSAGES + 499);
      expect(isOver).toBe(false);
      await driven.close();
      await expect(blocked).rejects.toThrow(ClosedError);
      await expect(stuck.consumer.send(handle!, 0, 1)).rejects.toThrow(ClosedError);
    });

    it.each(TRANSFER_PATHS)(
      "sends what is queued whole and in order, however little each is (%s)",
      async (transfer) => {
        const driven = await open(definition, machine, { ...smallFiles, transfer });
        const [handle] = await driven.createTopic("t", 1);
        for (let i = 0; i < 300; i++) {
          await driven.appendMany(handle!, 1);
          driven.engine.poll();
        }
        await driven.engine.flush();
        const { consumer, receiver } = await serve(driven);
        const offsets: number[] = [];
        const waiting: { sent: Promise<void>; sizeBytes: number }[] = [];
        const takeOldest = async () => {
          const { sent, sizeBytes } = waiting.shift()!;
          await sent;
          readServed(await receiver.take(sizeBytes), ({ offset }) => offsets.push(offset));
        };
        for (let next = 0; next < 300; ) {
          try {
            const { outcome, sent } = consumer.queue(handle!, next, 1 + (next % 7) * 900);
            waiting.push({ sent, sizeBytes: outcome.sizeBytes });
            next = outcome.nextOffset;
          } catch (error) {
            expect(error).toBeInstanceOf(BusyError);
            expect(waiting.length).toBeGreaterThan(0); // so there is always a way on
            await takeOldest();
          }
        }
        while (waiting.length > 0) await takeOldest();
        expect(offsets).toEqual(Array.from({ length: 300 }, (_, i) => i));
        await driven.close();
      },
    );

    it("sends nothing behind a queued send that failed", async () => {
      const driven = await open(definition, machine);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, BLOCKING_MESSAGES);
      await driven.engine.flush();
      const { consumer, receiver } = await serve(driven);
      const blocked = consumer.queue(handle!, 0, 100_000_000);
      const behind = consumer.queue(handle!, 0, 1);
      receiver.socket.destroy();
      await expect(blocked.sent).rejects.toThrow(ReceiverGoneError);
      await expect(behind.sent).rejects.toThrow(ClosedError);
      await driven.close();
    });

    it("delivers a blocked send whole when the consumer reads at last", async () => {
      const driven = await open(definition, machine, smallFiles);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, 200);
      await driven.engine.flush();
      const { consumer, receiver } = await serve(driven);
      const sending = consumer.send(handle!, 0, 50_000);
      await driven.appendMany(handle!, 300);
      await driven.engine.flush();
      const outcome = await sending;
      const offsets: number[] = [];
      readServed(await receiver.take(outcome.sizeBytes), ({ offset }) => offsets.push(offset));
      expect(offsets).toEqual(Array.from({ length: outcome.messageCount }, (_, i) => i));
      await driven.close();
    });

    it("says what it cannot send, and when the consumer has gone", async () => {
      const driven = await open(definition, machine);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, BLOCKING_MESSAGES);
      await driven.engine.flush();
      const { consumer, receiver } = await serve(driven);
      for (const offset of [-1, BLOCKING_MESSAGES + 1, Number.NaN]) {
        await expect(consumer.send(handle!, offset, 1_000)).rejects.toThrow(OffsetOutOfRangeError);
      }
      const blocked = consumer.send(handle!, 0, 100_000_000);
      receiver.socket.destroy();
      await expect(blocked).rejects.toThrow(ReceiverGoneError);
      await consumer.close();
      await consumer.close();
      await expect(consumer.send(handle!, 0, 1_000)).rejects.toThrow(ClosedError);
      expect((await driven.read(handle!)).rightTo).toBe(BLOCKING_MESSAGES);
      const late = await connect();
      connections.push(late);
      await driven.close();
      expect(() => driven.engine.serve!(late.server)).toThrow(ClosedError);
    });
  });
}

interface Connection {
  /** The engine's end: open, and nothing read from it yet. */
  readonly server: net.Socket;
  readonly receiver: Receiver;
  close(): void;
}

/** Files below `directory` that are deleted and that this process still has open, so that their blocks are not free. Linux. */
export function deletedFilesOpen(directory: string): string[] {
  const descriptors = fs.readdirSync("/proc/self/fd");
  const targets = descriptors.map((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // closed meanwhile
    }
  });
  return targets.filter((target) => target.startsWith(directory) && target.endsWith(" (deleted)"));
}

/** A connected pair of Unix sockets. */
export async function connect(): Promise<Connection> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-served-"));
  const listener = net.createServer({ pauseOnConnect: true }).listen(path.join(directory, "socket"));
  await once(listener, "listening");
  const socket = net.connect(path.join(directory, "socket"));
  const [server] = (await once(listener, "connection")) as [net.Socket];
  listener.close();
  fs.rmSync(directory, { recursive: true }); // a connection needs its socket's name no more
  return {
    server,
    receiver: new Receiver(socket),
    close() {
      socket.destroy();
      server.destroy();
    },
  };
}

/** The consumer's end, which reads when it is told to. */
class Receiver {
  constructor(readonly socket: net.Socket) {
    socket.on("error", () => {}); // a connection that the other side closes may end with ECONNRESET
    socket.pause();
  }

  /** Exactly the next `sizeBytes`. */
  async take(sizeBytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = sizeBytes; left > 0; ) {
      const part = this.socket.read(Math.min(left, Math.max(1, this.socket.readableLength))) as Buffer | null;
      if (part === null) {
        await once(this.socket, "readable");
        continue;
      }
      parts.push(part);
      left -= part.byteLength;
    }
    return Buffer.concat(parts);
  }
}

/** A thread of the writers' tests that ends, or hangs, in the middle of an append. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { parentPort } from "node:worker_threads";
import { MessageEncoder } from "../commitlog/message-encoder.js";
import { Message, type PartitionHandle, type WriterTicket } from "../engine.js";
import { heap } from "../heap.js";
import { loadEngine } from "../registry.js";

export interface MidwayThreadData {
  readonly ticket: WriterTicket;
  readonly partition: PartitionHandle;
  /**
   * Of the commitlog: half a record is filled, and the thread ends or hangs. Of the partitioned log: a batch is not
   * sealed, or half of it written with the lock held.
   */
  readonly place: "record" | "hang" | "batch" | "write";
}

function stopIn(place: MidwayThreadData["place"]): void {
  const { encode } = MessageEncoder.prototype;
  MessageEncoder.prototype.encode = function (this: MessageEncoder, target: number, ...rest) {
    encode.call(this, target, ...rest);
    const sizeBytes = heap.view.getInt32(target);
    heap.bytes.fill(0, target + (sizeBytes >> 1), target + sizeBytes);
    if (place === "record") process.exit(0);
    parentPort!.postMessage("hangs");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  } as typeof encode;
  const { writeSync } = fs;
  fs.writeSync = ((descriptor: number, bytes: Uint8Array, at: number, sizeBytes: number, position: number) => {
    writeSync(descriptor, bytes, at, sizeBytes >> 1, position);
    process.exit(0);
  }) as unknown as typeof writeSync;
  syncBuiltinESMExports();
}

parentPort!.once("message", async ({ ticket, partition, place }: MidwayThreadData) => {
  const writer = (await loadEngine(ticket.engine)).attachWriter!({
    ...{ ticket, heap },
    listener: { acknowledged: () => {}, failed: () => {} },
  });
  stopIn(place);
  for (let i = 0; i < 3; i++) writer.append(partition, new Message(heap, Buffer.from(`midway ${i}`)), 0);
  if (place === "batch") process.exit(0);
  writer.poll();
});

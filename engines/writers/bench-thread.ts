/** One thread of writers.bench.ts beside the main one: does its share of a slice whenever one begins. */
import { writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { Message, type PartitionHandle, type WriterTicket } from "../engine.js";
import { heap } from "../heap.js";
import { kernelOf } from "../kernel/kernel.js";
import { loadEngine } from "../registry.js";

export interface BenchThreadData {
  readonly work: BenchWork;
  readonly pool: number;
}

/** What both threads do a chunk of, over and over: appends, or the bare thing that an append cannot be faster than. */
export type BenchWork =
  | {
      readonly kind: "append";
      readonly ticket: WriterTicket;
      readonly messageSizeBytes: number;
      /** One partition until a batch is full, then the next. */
      readonly partitions: readonly PartitionHandle[];
      readonly runLength: number;
    }
  | { readonly kind: "copy"; readonly source: number; readonly sizeBytes: number; readonly target: number }
  | { readonly kind: "write"; readonly source: number; readonly sizeBytes: number; readonly descriptor: number };

/** Messages (or bare copies or writes) that a thread takes at a time. */
export const CHUNK = 150;
export const COPY_WINDOW_BYTES = 32 << 20;

/**
 * The work of a slice, in chunks that threads take until none is left: words in the heap. The end of a slice is when the
 * last thread has done its last chunk.
 */
export class WorkPool {
  #slice = 0;

  constructor(readonly address: number) {}

  /** For the helping thread: sleeps until the next slice. */
  awaitSlice(): void {
    while (Atomics.load(heap.words, this.address / 4) === this.#slice) {
      Atomics.wait(heap.words, this.address / 4, this.#slice);
    }
    this.#slice = Atomics.load(heap.words, this.address / 4);
  }

  begin(chunkCount: number, helps: boolean): void {
    Atomics.store(heap.words, this.address / 4 + 16, chunkCount);
    if (!helps) return;
    Atomics.store(heap.words, this.address / 4 + 32, 1);
    Atomics.store(heap.words, this.address / 4, ++this.#slice);
    Atomics.notify(heap.words, this.address / 4);
  }

  take(): boolean {
    return Atomics.sub(heap.words, this.address / 4 + 16, 1) > 0;
  }

  /** The helping thread has nothing left to do. */
  get isHelpDone(): boolean {
    return Atomics.load(heap.words, this.address / 4 + 32) === 0;
  }

  noteHelpDone(): void {
    Atomics.store(heap.words, this.address / 4 + 32, 0);
  }
}

/** @returns a function that does one chunk of bare work */
export function bareChunk(work: Exclude<BenchWork, { kind: "append" }>): () => void {
  let at = 0;
  if (work.kind === "copy") {
    const { copyBytes } = kernelOf(heap);
    return () => {
      for (let i = 0; i < CHUNK; i++) {
        copyBytes(work.target + at, work.source, work.sizeBytes);
        at += work.sizeBytes;
        if (at + work.sizeBytes > COPY_WINDOW_BYTES) at = 0;
      }
    };
  }
  return () => {
    for (let i = 0; i < CHUNK; i++) {
      writeSync(work.descriptor, heap.bytes, work.source, work.sizeBytes, at);
      at += work.sizeBytes;
      if (at > COPY_WINDOW_BYTES) at = 0;
    }
  };
}

async function help({ work, pool: address }: BenchThreadData): Promise<void> {
  const pool = new WorkPool(address);
  if (work.kind !== "append") {
    const chunk = bareChunk(work);
    parentPort!.postMessage("ready");
    while (true) {
      pool.awaitSlice();
      while (pool.take()) chunk();
      pool.noteHelpDone();
    }
  }
  let inFlight = 0;
  const writer = (await loadEngine(work.ticket.engine)).attachWriter!({
    ticket: work.ticket,
    heap,
    listener: {
      acknowledged: (_partition, _baseOffset, messageCount) => {
        inFlight -= messageCount;
      },
      failed: (_partition, _messageCount, error) => {
        throw error;
      },
    },
  });
  const message = new Message(heap, heap.place(new Uint8Array(work.messageSizeBytes).fill(0x6c)));
  parentPort!.postMessage("ready");
  for (let sent = 0; ; ) {
    pool.awaitSlice();
    while (pool.take()) {
      for (let i = 0; i < CHUNK; i++, sent++) {
        if (sent % work.runLength === 0) writer.poll();
        const partition = work.partitions[Math.floor(sent / work.runLength) % work.partitions.length]!;
        inFlight++;
        while (!writer.append(partition, message, 1_700_000_000_000)) writer.poll(1);
      }
    }
    writer.poll();
    while (inFlight > work.runLength) writer.poll(1);
    pool.noteHelpDone();
  }
}

parentPort?.once("message", (data: BenchThreadData) => help(data));

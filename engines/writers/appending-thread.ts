/** A thread of the writers' tests: appends what `valueAt` says through a writer, and reports every acknowledgement. */
import { parentPort } from "node:worker_threads";
import { type EngineListener, Message, type PartitionHandle, type WriterTicket } from "../engine.js";
import { heap } from "../heap.js";
import { loadEngine } from "../registry.js";
import { seededRandom } from "../storage/seeded-random.js";

export interface AppendingThreadData {
  readonly ticket: WriterTicket;
  readonly name: string;
  readonly partitions: readonly PartitionHandle[];
  readonly messageCount: number;
  readonly maxInFlight: number;
  readonly seed: number;
}

/** What became of a writer's messages, by partition. */
export interface Told {
  /** Base offset and message count of each acknowledgement, in order. */
  readonly acknowledged: Record<PartitionHandle, [number, number][]>;
  readonly appended: Record<PartitionHandle, number>;
  failedCount: number;
  error: string;
}

const MOST_FILLING_BYTES = 300;
const LONGEST_BURST = 20;

/** The value of a writer's message number `i` in a partition: its size follows from both. */
export function valueAt(name: string, i: number): Buffer {
  return Buffer.from(`${name};${i};`.padEnd(8 + ((i * 7919 + name.length * 104729) % MOST_FILLING_BYTES), "x"));
}

export function nothingTold(): Told {
  return { acknowledged: {}, appended: {}, failedCount: 0, error: "" };
}

export function tellingListener(told: Told): EngineListener {
  return {
    acknowledged: (partition, baseOffset, messageCount) => {
      told.acknowledged[partition] ??= [];
      told.acknowledged[partition].push([baseOffset, messageCount]);
    },
    failed: (_partition, messageCount, error) => {
      told.failedCount += messageCount;
      told.error = error.message;
    },
  };
}

async function run(data: AppendingThreadData): Promise<Told> {
  const { ticket, name, partitions, messageCount, maxInFlight, seed } = data;
  const told = nothingTold();
  const random = seededRandom(seed);
  let inFlight = 0;
  const telling = tellingListener(told);
  const writer = (await loadEngine(ticket.engine)).attachWriter!({
    ticket,
    heap,
    listener: {
      acknowledged: (partition, baseOffset, count) => {
        inFlight -= count;
        telling.acknowledged(partition, baseOffset, count);
      },
      failed: (partition, count, error) => {
        inFlight -= count;
        telling.failed(partition, count, error);
      },
    },
  });
  try {
    for (let left = messageCount; left > 0; ) {
      const partition = partitions[Math.floor(random() * partitions.length)]!;
      for (let burst = Math.min(left, 1 + Math.floor(random() * LONGEST_BURST)); burst > 0; burst--) {
        const i = told.appended[partition] ?? 0;
        const message = new Message(heap, valueAt(name, i));
        while (!writer.append(partition, message, 1_700_000_000_000 + i)) writer.poll(1);
        told.appended[partition] = i + 1;
        inFlight++;
        left--;
      }
      writer.poll();
      while (inFlight >= maxInFlight) writer.poll(1);
    }
    if (seed % 2 === 0) await writer.flush();
  } catch (error) {
    told.error = (error as Error).message;
  }
  await writer.close();
  return told;
}

parentPort?.once("message", async (data: AppendingThreadData) => parentPort!.postMessage(await run(data)));

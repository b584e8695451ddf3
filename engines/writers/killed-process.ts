/**
 * A process to be killed, whose threads all append to one partition, for ever: each through a writer of its own, the main
 * one through the engine. Each acknowledgement is written to file descriptor 3, a line, before the thread goes on:
 *
 *   <name of the writer> <base offset> <count>
 *
 * Argument: JSON of `KilledProcessTask`.
 */
import { writeSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type EngineListener, Message, type PartitionHandle, type WriterTicket } from "../engine.js";
import { DiskStorage, heap, loadEngine } from "../registry.js";
import { valueAt } from "./appending-thread.js";

export interface KilledProcessTask {
  readonly engine: string;
  readonly directory: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Tells this process's writers, `<life>w<number>`, from those of others. */
  readonly life: number;
  readonly writerCount: number;
}

interface ThreadData {
  readonly ticket: WriterTicket;
  readonly partition: PartitionHandle;
  readonly name: string;
}

const ACKNOWLEDGEMENTS = 3;
const MAX_IN_FLIGHT = 100;
/** Should nobody kill the process: it must not fill the disk. */
const LIFETIME_MS = 30_000;

let inFlight = 0;

function listenerOf(name: string): EngineListener {
  return {
    acknowledged: (_partition, baseOffset, messageCount) => {
      inFlight -= messageCount;
      writeSync(ACKNOWLEDGEMENTS, `${name} ${baseOffset} ${messageCount}\n`);
    },
    failed: (_partition, _messageCount, error) => {
      throw error;
    },
  };
}

async function appendForEver(
  log: { append(partition: PartitionHandle, message: Message, timestampMs: number): boolean; poll(): void },
  partition: PartitionHandle,
  name: string,
): Promise<never> {
  for (let i = 0; performance.now() < LIFETIME_MS; ) {
    const isTaken = inFlight < MAX_IN_FLIGHT && log.append(partition, new Message(heap, valueAt(name, i)), Date.now());
    if (isTaken) {
      inFlight++;
      i++;
    }
    if (!isTaken || i % 8 === 0) {
      log.poll();
      await turn();
    }
  }
  process.exit(1);
}

async function runThread({ ticket, partition, name }: ThreadData): Promise<never> {
  const { attachWriter } = await loadEngine(ticket.engine);
  const writer = attachWriter!({ ticket, heap, listener: listenerOf(name) });
  return appendForEver(writer, partition, name);
}

async function runProcess(task: KilledProcessTask): Promise<never> {
  const { directory, settings, life, writerCount } = task;
  const definition = await loadEngine(task.engine);
  const listener = listenerOf(`${life}w0`);
  const engine = await definition.open({ directory, storage: new DiskStorage(), heap, settings, listener });
  const [partition] = await engine.createTopic("t", 1);
  for (let i = 1; i <= writerCount; i++) {
    const worker = new Worker(new URL(import.meta.url));
    const ticket = engine.openWriter!(worker);
    worker.postMessage({ ticket, partition: partition!, name: `${life}w${i}` } satisfies ThreadData);
  }
  return appendForEver(engine, partition!, `${life}w0`);
}

if (isMainThread) await runProcess(JSON.parse(process.argv[2]!) as KilledProcessTask);
else parentPort!.once("message", runThread);

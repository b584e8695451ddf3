/**
 * A process to be killed: opens an engine, appends for ever, and writes down what it does on file descriptor 3, a line
 * each, before it goes on:
 *
 *   opening                                        the directory is about to be opened
 *   opened <index> <end offset>                    for every partition, as recovered
 *   acknowledged <index> <base offset> <count>     (appending.ts)
 *
 * Argument: JSON of `ChildTask`.
 */

import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { turn } from "../engine.contract-driver.js";
import { DiskStorage, heap, loadEngine } from "../registry.js";
import { Appending, LINES } from "./appending.js";
import type { ThreadTask } from "./child-thread.js";

export interface ChildTask {
  /** Name or path, as `loadEngine` takes it. */
  readonly engine: string;
  readonly directory: string;
  readonly topic: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly partitionCount: number;
  /** Threads that append beside the one that opens the directory; they share out the partitions. */
  readonly writerCount: number;
  /** Messages have keys. */
  readonly hasKeys: boolean;
  readonly seed: number;
}

/** Runs until it is killed. */
async function appendForEver(task: ChildTask): Promise<void> {
  const { topic, seed, writerCount, hasKeys } = task;
  const definition = await loadEngine(task.engine);
  const appending = new Appending(topic, hasKeys);
  writeSync(LINES, "opening\n");
  const engine = await definition.open({
    directory: task.directory,
    storage: new DiskStorage(),
    heap,
    settings: task.settings,
    listener: appending.listener,
  });
  const handles = await engine.createTopic(topic, task.partitionCount);
  const partitions = handles.map((handle, index) => ({
    ...{ index, handle },
    endOffset: engine.partitionInfo(handle).endOffset,
  }));
  for (const { index, endOffset } of partitions) writeSync(LINES, `opened ${index} ${endOffset}\n`);
  const ofThread = (thread: number) => partitions.filter(({ index }) => index % (writerCount + 1) === thread);
  let attachedCount = 0;
  for (let thread = 1; thread <= writerCount; thread++) {
    const worker = new Worker(new URL("./child-thread.js", import.meta.url));
    worker.once("message", () => attachedCount++);
    const ticket = engine.openWriter!(worker);
    const own = { partitions: ofThread(thread), seed: seed + thread };
    worker.postMessage({ engine: task.engine, ticket, topic, hasKeys, ...own } satisfies ThreadTask);
  }
  while (attachedCount < writerCount) await turn();
  await appending.run(engine, ofThread(0), seed);
}

await appendForEver(JSON.parse(process.argv[2]!) as ChildTask);

/**
 * A process to be killed: opens an engine, appends for ever, and writes down what it does on file descriptor 3, a line
 * each, before it goes on:
 *
 *   opening                                        the directory is about to be opened
 *   opened <index> <end offset>                    for every partition, as recovered
 *   acknowledged <index> <base offset> <count>
 *
 * Argument: JSON of `ChildTask`.
 */

import { writeSync } from "node:fs";
import { START_MS, turn, valueAt } from "../engine.contract-driver.js";
import { Message } from "../engine.js";
import { DiskStorage, heap, loadEngine } from "../registry.js";
import { seededRandom } from "../storage/seeded-random.js";

export interface ChildTask {
  /** Name or path, as `loadEngine` takes it. */
  readonly engine: string;
  readonly directory: string;
  readonly topic: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly partitionCount: number;
  readonly seed: number;
}

const LINES = 3;
/** Should nobody kill it: it must not fill the disk. */
const LIFETIME_MS = 60_000;
const MAX_IN_FLIGHT = 200;
const LONGEST_BURST = 60;

/** Runs until it is killed. */
async function appendForEver(task: ChildTask): Promise<void> {
  const random = seededRandom(task.seed);
  const indexes = new Map<number, number>();
  let inFlight = 0;
  const definition = await loadEngine(task.engine);
  writeSync(LINES, "opening\n");
  const engine = await definition.open({
    directory: task.directory,
    storage: new DiskStorage(),
    heap,
    settings: task.settings,
    listener: {
      acknowledged: (partition, baseOffset, messageCount) => {
        inFlight -= messageCount;
        writeSync(LINES, `acknowledged ${indexes.get(partition)} ${baseOffset} ${messageCount}\n`);
      },
      failed: (_partition, _messageCount, error) => {
        throw error;
      },
    },
  });
  const handles = await engine.createTopic(task.topic, task.partitionCount);
  for (const [index, handle] of handles.entries()) indexes.set(handle, index);
  const next = handles.map((handle) => engine.partitionInfo(handle).endOffset);
  for (const [index, endOffset] of next.entries()) writeSync(LINES, `opened ${index} ${endOffset}\n`);

  while (performance.now() < LIFETIME_MS) {
    const index = Math.floor(random() * handles.length);
    for (let left = Math.floor(random() * LONGEST_BURST); left >= 0 && inFlight < MAX_IN_FLIGHT; left--) {
      const message = new Message(heap, valueAt(task.topic, index, next[index]!));
      inFlight++;
      if (engine.append(handles[index]!, message, START_MS + next[index]!)) next[index]!++;
      else inFlight--;
    }
    if (random() < 0.5 || inFlight >= MAX_IN_FLIGHT) engine.poll();
    if (random() < 0.2 || inFlight >= MAX_IN_FLIGHT) await turn();
  }
  process.exit(1);
}

await appendForEver(JSON.parse(process.argv[2]!) as ChildTask);

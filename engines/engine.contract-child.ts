/**
 * A process for the conformance suite to kill: opens an engine, appends for ever, and writes a line
 * `<topic> <index> <message count>` to file descriptor 3 for each acknowledgement, before it goes on.
 *
 * Argument: JSON of `ChildTask`.
 */

import { writeSync } from "node:fs";
import { valueAt } from "./engine.contract-driver.js";
import { Message } from "./engine.js";
import { DiskStorage, heap, loadEngine } from "./registry.js";

export interface ChildTask {
  readonly engine: string;
  readonly directory: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly partitionCount: number;
}

const TOPIC = "kill";
const ACKNOWLEDGEMENTS = 3;
/** Should nobody kill it: it must not fill the disk. */
const LIFETIME_MS = 20_000;
const MAX_IN_FLIGHT = 200;

const task = JSON.parse(process.argv[2]!) as ChildTask;
const definition = await loadEngine(task.engine);
const indexes = new Map<number, number>();
let inFlight = 0;
const engine = await definition.open({
  directory: task.directory,
  storage: new DiskStorage(),
  heap,
  settings: task.settings,
  listener: {
    acknowledged: (partition, _baseOffset, messageCount) => {
      inFlight -= messageCount;
      writeSync(ACKNOWLEDGEMENTS, `${TOPIC} ${indexes.get(partition)} ${messageCount}\n`);
    },
    failed: (_partition, _messageCount, error) => {
      throw error;
    },
  },
});
const handles = await engine.createTopic(TOPIC, task.partitionCount);
for (const [index, handle] of handles.entries()) indexes.set(handle, index);
const next = handles.map((handle) => engine.partitionInfo(handle).endOffset);

for (let i = 0; performance.now() < LIFETIME_MS; i++) {
  if (i % 50 === 0 || inFlight >= MAX_IN_FLIGHT) {
    engine.poll();
    await new Promise((resolve) => setImmediate(resolve));
    if (inFlight >= MAX_IN_FLIGHT) continue;
  }
  const index = i % handles.length;
  inFlight++;
  const message = new Message(heap, valueAt(TOPIC, index, next[index]!));
  if (engine.append(handles[index]!, message, 1_700_000_000_000 + next[index]!)) next[index]!++;
  else inFlight--;
  if (i % 7 === 0) engine.poll();
}
process.exit(1);

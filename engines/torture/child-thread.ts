/** A thread of a process that is to be killed: appends through a writer of its own. */

import { parentPort } from "node:worker_threads";
import type { WriterTicket } from "../engine.js";
import { heap, loadEngine } from "../registry.js";
import { Appending, type OwnPartition } from "./appending.js";

export interface ThreadTask {
  /** Name or path, as `loadEngine` takes it. */
  readonly engine: string;
  readonly ticket: WriterTicket;
  readonly topic: string;
  readonly partitions: readonly OwnPartition[];
  readonly hasKeys: boolean;
  readonly seed: number;
}

parentPort!.once("message", async ({ engine, ticket, topic, partitions, hasKeys, seed }: ThreadTask) => {
  const appending = new Appending(topic, hasKeys);
  const { attachWriter } = await loadEngine(engine);
  const writer = attachWriter!({ ticket, heap, listener: appending.listener });
  parentPort!.postMessage("attached");
  await appending.run(writer, partitions, seed);
});

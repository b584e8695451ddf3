/**
 * The process of one half of a recovery trial: it fills a directory and is then killed by itself, or it opens what such a
 * one left. It runs the engine of the build that it is told, whatever build it is of itself.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PartitionHandle, StorageEngine } from "../../engines/engine.js";
import { type RecoveryInput, recoveryInputSchema } from "./recovery-protocol.js";

type EngineModule = typeof import("../../engines/engine.js");
type RegistryModule = typeof import("../../engines/registry.js");

const TOPIC = "recovery";
/** The same in every trial, so that what is written is the same bytes. */
const TIMESTAMP_MS = 1_700_000_000_000;
const MESSAGES_PER_POLL = 64;

process.once("message", (message) => {
  const input = recoveryInputSchema.parse(message);
  const run = input.task === "write" ? write : open;
  run(input).then(
    (outcome) => process.send!(outcome, () => process.kill(process.pid, "SIGKILL")),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});

/** Appends without closing: the answer goes out, and the process dies as if killed. */
async function write(input: RecoveryInput) {
  const { Message, heap, openEngine } = await load(input);
  let acknowledgedCount = 0;
  let failure: Error | null = null;
  const engine = await openEngine({
    acknowledged: (_partition, _baseOffset, messageCount) => {
      acknowledgedCount += messageCount;
    },
    failed: (_partition, _messageCount, error) => {
      failure = error;
    },
  });
  const handles = await engine.createTopic(TOPIC, input.partitionCount);
  const payload = heap.place(new Uint8Array(input.messageSizeBytes).map((_, at) => (at * 31) & 0xff));
  const message = new Message(heap, payload);
  for (let sent = 0; sent < input.messageCount; sent++) {
    while (!engine.append(handles[sent % handles.length]!, message, TIMESTAMP_MS + sent)) await turn(engine);
    if (sent % MESSAGES_PER_POLL === 0) engine.poll();
  }
  while (acknowledgedCount < input.messageCount && failure === null) await turn(engine);
  if (failure !== null) throw failure;
  return { durationNs: 0, messageCount: acknowledgedCount };
}

async function open(input: RecoveryInput) {
  const { openEngine } = await load(input);
  const startedNs = process.hrtime.bigint();
  const engine = await openEngine({ acknowledged: () => {}, failed: () => {} });
  const durationNs = Number(process.hrtime.bigint() - startedNs);
  const handles: readonly PartitionHandle[] = await engine.createTopic(TOPIC, input.partitionCount);
  const messageCount = handles.reduce((sum, handle) => {
    const { startOffset, endOffset } = engine.partitionInfo(handle);
    return sum + endOffset - startOffset;
  }, 0);
  return { durationNs, messageCount };
}

async function load(input: RecoveryInput) {
  const module = (name: string) => import(pathToFileURL(join(input.build, "dist/engines", name)).href);
  const { Message }: EngineModule = await module("engine.js");
  const { loadEngine, DiskStorage, heap }: RegistryModule = await module("registry.js");
  const definition = await loadEngine(input.engine);
  return {
    Message,
    heap,
    openEngine: (listener: Parameters<typeof definition.open>[0]["listener"]) =>
      definition.open({
        directory: input.directory,
        storage: new DiskStorage(),
        heap,
        settings: input.settings,
        listener,
      }),
  };
}

async function turn(engine: StorageEngine): Promise<void> {
  engine.poll();
  await new Promise((resolve) => setImmediate(resolve));
}

import { describe, expect, it } from "vitest";
import { rawEngine } from "./baseline/raw.js";
import { commitlog } from "./commitlog/index.js";
import { type EngineDefinition, Message, type StorageEngine } from "./engine.js";
import { OpenError } from "./errors.js";
import { heap } from "./heap.js";
import { partitionedLog } from "./partitioned-log/index.js";
import { FaultyStorage } from "./storage/faulty-storage.js";

const DIRECTORY = "/data/engine";
const MESSAGES = 20;
/** What a full or read-only filesystem refuses. */
const WRITING = new Set<string>(["write", "allocate", "truncate", "makeDirectory", "rename", "remove", "sync"]);

const SENTENCES = {
  ENOSPC:
    /^\/data\/engine cannot be opened: the filesystem has no space left \(ENOSPC at \/data\/engine.*\)\. Free some/,
  EDQUOT: /^\/data\/engine cannot be opened: the disk quota is used up \(EDQUOT at \/data\/engine.*\)\. Free some/,
  EROFS:
    /^\/data\/engine cannot be opened: the filesystem is read-only \(EROFS at \/data\/engine.*\)\. Mount it writable/,
} as const;

describe.each([partitionedLog, commitlog, rawEngine])("$name", (definition) => {
  it.each(Object.keys(SENTENCES) as (keyof typeof SENTENCES)[])(
    "says in one sentence that the disk takes nothing while it is opened (%s), and opens once it does",
    async (code) => {
      const written = await write(definition);
      let refused = 0;
      for (const isKilled of [false, true]) {
        const image = isKilled ? written.killed : written.closed;
        for (let failing = 1, calls = Number.POSITIVE_INFINITY; failing <= calls; failing++) {
          const storage = image.kill();
          let count = 0;
          storage.fault = ({ operation }) => (WRITING.has(operation) && ++count >= failing ? code : null);
          const outcome = await open(definition, storage).catch((error: unknown) => error);
          storage.fault = () => null;
          if (outcome instanceof Error) {
            refused++;
            expect(outcome).toBeInstanceOf(OpenError);
            expect(outcome.message).toMatch(SENTENCES[code]);
            expect(outcome.cause).toMatchObject({ code });
          } else {
            calls = 0;
            await (outcome as StorageEngine).close().catch(() => undefined);
          }
          const again = await open(definition, storage);
          expect(again.partitionInfo(again.partitions()[0]!.handle).endOffset).toBe(MESSAGES);
          await again.close();
        }
      }
      expect(refused).toBeGreaterThan(0);
    },
  );

  it("leaves other failures of the storage as they are", async () => {
    const storage = (await write(definition)).killed;
    storage.fault = ({ operation }) => (WRITING.has(operation) ? "EIO" : null);
    await expect(open(definition, storage)).rejects.toMatchObject({ code: "EIO" });
  });
});

async function write(definition: EngineDefinition): Promise<{ closed: FaultyStorage; killed: FaultyStorage }> {
  const storage = new FaultyStorage();
  storage.makeDirectory("/data");
  const engine = await open(definition, storage);
  const [partition] = await engine.createTopic("t", 1);
  for (let i = 0; i < MESSAGES; i++) engine.append(partition!, new Message(heap, Buffer.from(`message ${i}`)), i);
  await engine.flush();
  const killed = storage.kill();
  await engine.close();
  return { closed: storage, killed };
}

function open(definition: EngineDefinition, storage: FaultyStorage): Promise<StorageEngine> {
  const listener = { acknowledged() {}, failed() {} };
  const settings = definition === commitlog ? { segmentSizeBytes: 8_192, keyIndexSlots: 50, keyIndexItems: 60 } : {};
  return definition.open({ directory: DIRECTORY, storage, heap, settings, listener });
}

import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Header, Message } from "../engine.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import type { Storage } from "../storage/storage.js";
import { DIRECTORY, type Opened, open, START_MS } from "./testing.js";

/** What changes how a log is written, not what is written. */
const CHOICES = ["write", "mmap"].flatMap((writePath) =>
  ["producer", "broker"].flatMap((assembly) =>
    ["inline", "deferred"].flatMap((indexBuilding) => ({ writePath, assembly, indexBuilding })),
  ),
);

const bytes = (maxLength: number) => fc.option(fc.uint8Array({ maxLength }), { nil: null });
const headers = fc.array(fc.record({ key: fc.string({ maxLength: 9 }), value: bytes(9) }), {
  maxLength: 2,
}) as fc.Arbitrary<Header[]>;

const append = fc.record({
  kind: fc.constant("append" as const),
  partition: fc.nat(2),
  timestampMs: fc.oneof(fc.constant(START_MS), fc.integer({ min: START_MS - 2_000, max: START_MS + 2_000 }), fc.nat(1)),
  key: fc.oneof({ arbitrary: fc.constant(null), weight: 2 }, { arbitrary: bytes(20), weight: 1 }),
  value: fc.oneof(bytes(10), bytes(70), bytes(900)),
  headers: fc.oneof({ arbitrary: fc.constant([]), weight: 4 }, { arbitrary: headers, weight: 1 }),
  repeats: fc.oneof({ arbitrary: fc.constant(1), weight: 4 }, { arbitrary: fc.nat(40), weight: 1 }),
  isInHeap: fc.boolean(),
});
const step = fc.oneof(
  { arbitrary: append, weight: 10 },
  { arbitrary: fc.record({ kind: fc.constantFrom("poll" as const, "flush" as const, "fetch" as const) }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant("reopen" as const) }), weight: 1 },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const settings = fc.record({
  batchSizeBytes: fc.constantFrom(0, 300, 2_000, 16_384),
  lingerMs: fc.constantFrom(0, 1_000),
  segmentSizeBytes: fc.constantFrom(2_100, 6_000, 65_536, 300_000),
  segmentMs: fc.constantFrom(1_500, 604_800_000),
  indexIntervalBytes: fc.constantFrom(0, 200, 4_096),
  indexSizeBytes: fc.constantFrom(24, 60, 10_485_760),
  preallocate: fc.boolean(),
  compression: fc.constantFrom("none", "none", "gzip", "lz4"),
  timestampType: fc.constantFrom("create", "create", "log-append"),
  checksum: fc.constantFrom(true, true, false),
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "performance"], now: START_MS });
});
afterEach(() => {
  vi.useRealTimers();
});

function contents(storage: Storage, directory = DIRECTORY): Record<string, string> {
  return Object.fromEntries(
    storage.list(directory).flatMap(({ name, kind }) => {
      const path = `${directory}/${name}`;
      if (kind === "directory") return Object.entries(contents(storage, path));
      return [[path, Buffer.from(storage.readAll(path)).toString("hex")]];
    }),
  );
}

async function run(
  steps: readonly Step[],
  chosen: Record<string, unknown>,
): Promise<{ files: Record<string, string>; counted: Record<string, number>; read: string[] }> {
  const storage = new FaultyStorage();
  const read: string[] = [];
  const counted = { batches: 0, logBytes: 0, indexEntries: 0, indexBytes: 0, filesRolled: 0 };
  let opened: Opened = await open(storage, chosen);
  const close = async () => {
    await opened.engine.flush();
    await opened.engine.close();
    const counters = opened.engine.counters();
    for (const name of Object.keys(counted) as (keyof typeof counted)[]) counted[name] += counters[name];
  };
  await opened.engine.createTopic("t", 3);
  for (const each of steps) {
    const { engine } = opened;
    if (each.kind === "append") {
      for (let i = 0; i < each.repeats; i++) {
        const value = each.isInHeap && each.value !== null ? heap.place(each.value) : each.value;
        const message = new Message(heap, value, each.key, each.headers);
        while (!engine.append(each.partition, message, each.timestampMs)) engine.poll();
        if (value !== each.value) heap.release(value!.byteOffset);
      }
    } else if (each.kind === "poll") {
      engine.poll();
    } else if (each.kind === "flush") {
      await engine.flush();
    } else if (each.kind === "fetch") {
      for (const { handle, startOffset } of engine.partitions()) {
        await engine.fetch(handle, startOffset, 5_000, ({ offset, value }) =>
          read.push(`${handle} ${offset} ${value}`),
        );
      }
    } else {
      await close();
      opened = await open(storage, chosen);
    }
  }
  await close();
  return { files: contents(storage), counted, read };
}

test("the bytes of a directory depend on no choice of how they are written", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), settings, async (steps, common) => {
      const reference = await run(steps, { ...common, ...CHOICES[0] });
      for (const choice of CHOICES.slice(1)) {
        expect(await run(steps, { ...common, ...choice, mapWindowBytes: 65_536 }), JSON.stringify(choice)).toEqual(
          reference,
        );
      }
    }),
    { numRuns: 60 },
  );
});

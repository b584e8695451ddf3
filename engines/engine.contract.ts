import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Driven, turn } from "./engine.contract-driver.js";
import { diskMachine, type Machine, memoryMachine, open, SyncHoldingStorage } from "./engine.contract-machine.js";
import { describeRetention } from "./engine.contract-retention.js";
import { describeServing } from "./engine.contract-serving.js";
import { describeWaiting } from "./engine.contract-waiting.js";
import {
  type EngineDefinition,
  type Header,
  type KeyQuery,
  Message,
  type MessageVisitor,
  type PartitionHandle,
} from "./engine.js";
import {
  ClosedError,
  LogFailedError,
  OffsetOutOfRangeError,
  OpenError,
  UnrepresentableError,
  UnsupportedError,
} from "./errors.js";
import type { FlushPolicy } from "./flush-policy.js";
import { heap } from "./heap.js";
import type { FaultyStorage, StorageCall } from "./storage/faulty-storage.js";
import { killTrial } from "./torture/kill.js";
import { isOperational, powerCutTrial } from "./torture/power-cut.js";

/** What the suite must know of an engine beyond its definition. */
export interface ConformanceTraits {
  /** Settings that make it fill many small files (of 8 KiB or so) from a few hundred messages. */
  readonly smallFiles: Readonly<Record<string, unknown>>;
  /** It begins a new file when one is full. */
  readonly rollsFiles: boolean;
  /** It buffers messages up to `bufferMemoryBytes` and then takes no more. */
  readonly refusesWhenFull: boolean;
  /** Its format has checksums, so that what is torn is not served. */
  readonly hasChecksums: boolean;
  /** Its format has tags, which are the header `TAGS`. */
  readonly hasTags: boolean;
  /** Settings under which it deletes old files of a log beyond 20 kB at once; null for an engine that keeps everything. */
  readonly smallRetention: Readonly<Record<string, unknown>> | null;
  /** Visits the messages in bytes that a consumer was sent; null for an engine that serves nobody. */
  readonly readServed: ((bytes: Uint8Array, visit: MessageVisitor) => void) | null;
}

/** Settings other than the engine's defaults that the whole suite runs with. */
export interface ConformanceVariant {
  /** Names its tests, behind the engine's own name. */
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

const POLICIES: readonly FlushPolicy[] = ["async", { every: { messages: 10 } }, { every: { ms: 1 } }, "sync"];
const POWER_CUTS = 60;
/** A variant shares most of its code with the engine's defaults. */
const POWER_CUTS_OF_VARIANT = 20;
const POLICIES_OF_VARIANT: readonly FlushPolicy[] = ["async", "sync"];
const POWER_CUT_STEPS = 120;

const HOSTILE_NAMES = [
  "",
  ".",
  "..",
  "../../x",
  "../escaped",
  "/etc/passwd",
  "a/b",
  "a\\b",
  "a\0b",
  "<script>alert(1)</script>",
  "a b",
  "ä",
  "x".repeat(250),
];

/**
 * The conformance suite: what every engine that stores messages does alike, whatever its layout. `npm test` runs it on
 * every engine of the registry; a third party calls it from a test file of its own. With a variant, it runs in a somewhat
 * shorter form.
 */
export function describeConformance(
  original: EngineDefinition,
  traits: ConformanceTraits,
  variant: ConformanceVariant | null = null,
): void {
  const name = variant === null ? original.name : `${original.name} (${variant.name})`;
  const definition = variant === null ? original : withSettings(original, variant.settings);
  for (const machine of [diskMachine(), memoryMachine()]) {
    describe(`${name} ${machine.name}`, () => {
      beforeEach(() => machine.prepare());
      afterEach(() => machine.cleanUp());
      describeTopics(definition, machine);
      describeAppending(definition, machine, traits);
      describeFetching(definition, machine, traits);
      describeWaiting(definition, machine);
      if (traits.readServed !== null) describeServing(definition, machine, traits.smallFiles, traits.readServed);
      if (traits.smallRetention !== null) {
        describeRetention(definition, machine, { ...traits.smallFiles, ...traits.smallRetention });
      }
      describeFlushing(definition, machine);
      describeClosing(definition, machine, traits);
      describeManyFiles(definition, machine, traits);
    });
  }
  describe(`${name} after a crash`, () => {
    describeKill(original, traits, variant);
    describePowerCut(definition, traits, variant === null ? POWER_CUTS : POWER_CUTS_OF_VARIANT);
    describeFaults(definition, traits);
  });
}

/** The same engine, opened with these settings unless a test says otherwise. */
function withSettings(definition: EngineDefinition, settings: Readonly<Record<string, unknown>>): EngineDefinition {
  return {
    ...definition,
    open: (options) => definition.open({ ...options, settings: { ...settings, ...options.settings } }),
  };
}

function describeTopics(definition: EngineDefinition, machine: Machine): void {
  it("creates topics once, lets them grow, and finds them again", async () => {
    const driven = await open(definition, machine);
    const [a0] = await driven.createTopic("a", 1);
    const b = await driven.createTopic("b.topic_with-signs", 3);
    expect(await driven.createTopic("a", 1)).toEqual([a0]);
    const grown = await driven.createTopic("a", 2);
    expect(grown[0]).toBe(a0);
    expect(await driven.createTopic("a", 1)).toEqual([a0]);
    const handles = [...grown, ...b];
    expect(new Set(handles).size).toBe(5);
    const places = (which: Driven) =>
      which.engine
        .partitions()
        .map(({ topic, index }) => `${topic} ${index}`)
        .sort();
    const expected = ["a 0", "a 1", "b.topic_with-signs 0", "b.topic_with-signs 1", "b.topic_with-signs 2"];
    expect(places(driven)).toEqual(expected);
    expect(driven.engine.partitionInfo(b[2]!)).toEqual({
      handle: b[2],
      topic: "b.topic_with-signs",
      index: 2,
      startOffset: 0,
      endOffset: 0,
    });
    await driven.close();
    const again = await open(definition, machine);
    expect(places(again)).toEqual(expected);
    for (const { handle } of again.engine.partitions()) expect(handle).toBeLessThan(5);
    await again.close();
  });

  it("refuses hostile names and counts, and creates nothing for them", async () => {
    const driven = await open(definition, machine);
    await driven.createTopic("good", 1);
    const outside = machine.outside();
    const inside = machine.storage.list(machine.directory);
    for (const name of HOSTILE_NAMES) {
      await expect(driven.createTopic(name, 1), JSON.stringify(name)).rejects.toThrow(UnrepresentableError);
    }
    for (const count of [0, -1, 1.5, Number.NaN]) {
      await expect(driven.createTopic("t", count), String(count)).rejects.toThrow(UnrepresentableError);
    }
    expect(machine.outside()).toEqual(outside);
    expect(machine.storage.list(machine.directory)).toEqual(inside);
    expect(driven.engine.partitions()).toHaveLength(1);
    await driven.close();
  });
}

function describeAppending(definition: EngineDefinition, machine: Machine, traits: ConformanceTraits): void {
  it("acknowledges what was appended, cumulatively and in order, and counts it", async () => {
    const driven = await open(definition, machine);
    const handles = await driven.createTopic("t", 3);
    for (let i = 0; i < 300; i++) await driven.appendMany(handles[(i * i) % 3]!, 1);
    await driven.pollUntilAcknowledged();
    expect(driven.faults).toEqual([]);
    const ends = handles.map((handle) => driven.engine.partitionInfo(handle).endOffset);
    expect(ends).toEqual([100, 200, 0]);
    await driven.engine.flush();
    const counters = driven.engine.counters();
    expect(counters.appendedMessages).toBe(300);
    expect(counters.acknowledgedMessages).toBe(300);
    expect(counters.batches).toBeGreaterThan(0);
    expect(counters.batches).toBeLessThanOrEqual(300);
    expect(counters.logBytes).toBeGreaterThan(300 * 100);
    expect(counters.syncCalls).toBeGreaterThan(0);
    expect(await driven.differences()).toEqual([]);
    await driven.close();
    const again = await open(definition, machine);
    expect(again.engine.counters()).toMatchObject({ appendedMessages: 0, acknowledgedMessages: 0, logBytes: 0 });
    await again.close();
  });

  it("counts the same for the same work", async () => {
    // Background work that is due by the clock reads and writes as time passes, so it does not pass here.
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.now());
    onTestFinished(() => now.mockRestore());
    const counted = [];
    for (let run = 0; run < 2; run++) {
      machine.cleanUp();
      machine.prepare();
      const driven = await open(definition, machine, traits.smallFiles);
      const handles = await driven.createTopic("t", 4);
      for (let i = 0; i < 200; i++) {
        await driven.appendMany(handles[i % 4]!, 1);
        if (i % 5 === 0) driven.engine.poll();
      }
      await driven.engine.flush();
      counted.push(driven.engine.counters());
      await driven.close();
    }
    expect(counted[1]).toEqual(counted[0]);
  });

  it("keeps values, keys, headers and timestamps of any shape, or says that it cannot", async () => {
    const driven = await open(definition, machine);
    const [handle] = await driven.createTopic("t", 1);
    const bytes = (text: string) => Buffer.from(text);
    const headers: Header[] = [
      { key: "a", value: bytes("1") },
      { key: "a", value: null },
      { key: "", value: new Uint8Array() },
    ];
    const shapes: [Uint8Array | null, Uint8Array | null, readonly Header[]][] = [
      [bytes("value"), null, []],
      [new Uint8Array(), null, []],
      [bytes("value"), bytes("key"), []],
      [bytes("value"), new Uint8Array(), []],
      [null, bytes("key"), []],
      [null, null, []],
      [bytes("value"), bytes("key"), headers],
      [Buffer.alloc(100_000, "large"), null, []],
      [Uint8Array.from({ length: 256 }, (_, i) => i), Uint8Array.from({ length: 256 }, (_, i) => 255 - i), []],
    ];
    const kept: typeof shapes = [];
    for (const [value, key, itsHeaders] of shapes) {
      const message = new Message(heap, value, key, itsHeaders);
      const progress = driven.progress.get(handle!)!;
      progress.appendedTo++;
      try {
        while (!driven.engine.append(handle!, message, 1_000 + kept.length)) driven.engine.poll();
        kept.push([value, key, itsHeaders]);
      } catch (error) {
        expect(error).toBeInstanceOf(UnrepresentableError);
        progress.appendedTo--;
      }
    }
    expect(kept.length).toBeGreaterThanOrEqual(3);
    await driven.engine.flush();
    expect(driven.engine.partitionInfo(handle!).endOffset).toBe(kept.length);
    const copy = (each: Uint8Array | null) => (each === null ? null : Buffer.from(each).toString("hex"));
    const read: unknown[] = [];
    for (let next = 0; next < kept.length; ) {
      const outcome = await driven.engine.fetch(handle!, next, 1_000_000, (message) => {
        expect([1_000 + message.offset, -1]).toContain(message.timestampMs);
        const itsHeaders = message.headers.map((header) => [header.key, copy(header.value)]);
        read.push([copy(message.value), copy(message.key), itsHeaders]);
      });
      expect(outcome.nextOffset).toBeGreaterThan(next);
      next = outcome.nextOffset;
    }
    expect(read).toEqual(
      kept.map(([value, key, itsHeaders]) => [
        copy(value),
        copy(key),
        itsHeaders.map((header) => [header.key, copy(header.value)]),
      ]),
    );
    expect(driven.faults).toEqual([]);
    await driven.close();
  });

  it("takes no more when its memory is exhausted, and goes on when there is room", async () => {
    const driven = await open(definition, machine, {
      bufferMemoryBytes: 65_536,
      batchSizeBytes: 16_384,
      lingerMs: 1_000_000,
    });
    const handles = await driven.createTopic("t", 60);
    let refusals = 0;
    for (let i = 0; i < 1_200; i++) {
      const handle = handles[i % 60]!;
      const end = driven.engine.partitionInfo(handle).endOffset;
      while (!driven.append(handle)) {
        refusals++;
        expect(driven.engine.partitionInfo(handle).endOffset).toBe(end);
        driven.engine.poll();
        await turn();
      }
    }
    if (traits.refusesWhenFull) expect(refusals).toBeGreaterThan(0);
    else expect(refusals).toBe(0);
    await driven.engine.flush();
    expect(await driven.differences()).toEqual([]);
    await driven.close();
  });
}

function describeFetching(definition: EngineDefinition, machine: Machine, traits: ConformanceTraits): void {
  it("fetches from any offset, at least one message and about as many bytes as asked for", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const [handle, other] = await driven.createTopic("t", 2);
    for (let i = 0; i < 60; i++) {
      await driven.appendMany(handle!, 1);
      await driven.appendMany(other!, i % 3);
      driven.engine.poll();
    }
    await driven.engine.flush();
    for (const maxBytes of [1, 700, 1_000_000]) {
      for (let from = 0; from < 60; from += 7) {
        const offsets: number[] = [];
        const outcome = await driven.engine.fetch(handle!, from, maxBytes, (message) => offsets.push(message.offset));
        expect(offsets.length).toBeGreaterThan(0);
        expect(offsets).toEqual(offsets.map((_, i) => from + i));
        expect(outcome).toMatchObject({ nextOffset: from + offsets.length, messageCount: offsets.length });
        expect(outcome.sizeBytes).toBeGreaterThan(0);
      }
      expect((await driven.read(handle!, maxBytes)).rightTo).toBe(60);
    }
    const few = await driven.engine.fetch(handle!, 0, 1, () => {});
    const many = await driven.engine.fetch(handle!, 0, 1_000_000, () => {});
    expect(few.messageCount).toBeLessThan(60);
    expect(many.sizeBytes).toBeGreaterThan(few.sizeBytes);
    await driven.close();
  });

  it("fetches nothing at the end, and says so of offsets that are not there", async () => {
    const driven = await open(definition, machine);
    const [handle] = await driven.createTopic("t", 1);
    const nothing = { nextOffset: 0, messageCount: 0, sizeBytes: 0 };
    expect(await driven.engine.fetch(handle!, 0, 1_000, () => expect.unreachable())).toEqual(nothing);
    await driven.appendMany(handle!, 5);
    await driven.engine.flush();
    const atEnd = await driven.engine.fetch(handle!, 5, 1_000, () => expect.unreachable());
    expect(atEnd).toEqual({ nextOffset: 5, messageCount: 0, sizeBytes: 0 });
    for (const offset of [-1, 6, Number.NaN]) {
      await expect(driven.engine.fetch(handle!, offset, 1_000, () => {})).rejects.toThrow(OffsetOutOfRangeError);
    }
    await driven.close();
  });

  it.runIf(traits.hasTags)(
    "visits only messages with one of the tags asked for, and passes over the others",
    async () => {
      const driven = await open(definition, machine, traits.smallFiles);
      const [handle] = await driven.createTopic("t", 1);
      // The first two have one hash in Java.
      const tagOf = (offset: number) => ["Aa", "BB", "größer", undefined, "Aab"][(offset * offset) % 5];
      const count = 2_000;
      for (let i = 0; i < count; i++) {
        const tag = tagOf(i);
        await appendOwn(driven, handle!, tag === undefined ? [] : [{ key: "TAGS", value: Buffer.from(tag) }], i);
      }
      await driven.engine.flush();
      for (const tags of [["Aa"], ["BB", "größer"], ["none"], []]) {
        for (const maxBytes of [1, 3_000, 1_000_000]) {
          const offsets: number[] = [];
          for (let next = 3; next < count; ) {
            const before = offsets.length;
            const visit = ({ offset }: { offset: number }) => offsets.push(offset);
            const { nextOffset, messageCount } = await driven.engine.fetch(handle!, next, maxBytes, visit, { tags });
            expect(messageCount).toBe(offsets.length - before);
            expect(nextOffset).toBeGreaterThan(next);
            next = nextOffset;
          }
          const wanted = Array.from({ length: count }, (_, i) => i).filter(
            (i) => i >= 3 && tags.includes(tagOf(i) ?? ""),
          );
          expect(offsets).toEqual(wanted);
        }
      }
      await driven.close();
    },
  );

  it("finds the first message that is not older than a time, where it can", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const [handle, empty] = await driven.createTopic("t", 2);
    const offsetFor = async (timestampMs: number) => driven.engine.offsetForTimestamp?.(handle!, timestampMs);
    if (driven.engine.offsetForTimestamp === undefined) return driven.close();
    expect(await offsetFor(0)).toBe(0);
    const timesMs: number[] = [];
    for (let round = 0; round < 5; round++) {
      const before = Date.now();
      await driven.pollUntil("the next milliseconds", () => Date.now() > before + 2);
      for (let i = 0; i < 3; i++) driven.engine.poll(); // an engine may read the clock in its polls only
      timesMs.push(before + 2);
      for (let i = 0; i < 40; i++) await appendOwn(driven, handle!, [], Date.now());
      await driven.engine.flush();
    }
    const search = async () => {
      for (const [round, timeMs] of timesMs.entries()) expect(await offsetFor(timeMs)).toBe(round * 40);
      expect(await offsetFor(0)).toBe(0);
      expect(await offsetFor(Date.now() + 1_000)).toBe(200);
    };
    await search();
    expect(await driven.engine.offsetForTimestamp(empty!, 0)).toBe(0);
    await driven.close();
    const again = await open(definition, machine, traits.smallFiles);
    expect(await again.engine.offsetForTimestamp!(again.handleOf("t", 0)!, timesMs[3]!)).toBe(120);
    expect(await again.engine.offsetForTimestamp!(again.handleOf("t", 0)!, Date.now() + 1_000)).toBe(200);
    await again.close();
  });

  it("finds the messages of a key in all partitions of a topic, the newest first, where it can", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    if (driven.engine.messagesByKey === undefined) return driven.close();
    const handles = [...(await driven.createTopic("t", 2)), ...(await driven.createTopic("u", 1))];
    const keyOf = (i: number) => (i % 7 === 0 ? null : `k${(i * i) % 5}`);
    const count = 400;
    for (let i = 0; i < count; i++) {
      const key = keyOf(i);
      await appendOwn(driven, handles[i % 3]!, [], Date.now(), key === null ? null : Buffer.from(key));
    }
    await driven.engine.flush();
    const ever = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: count };
    const find = async ({ engine }: Driven, key: string, query: KeyQuery) => {
      const found: string[] = [];
      const visitedCount = await engine.messagesByKey!("t", key, query, (message, partition) => {
        expect(Buffer.from(message.key!).toString()).toBe(key);
        found.push(`${engine.partitionInfo(partition).index} ${message.offset}`);
      });
      expect(visitedCount).toBe(found.length);
      return found;
    };
    const search = async (which: Driven) => {
      for (const key of ["k0", "k1", "k4", "k", "k00"]) {
        const wanted = Array.from({ length: count }, (_, i) => i)
          .filter((i) => i % 3 < 2 && keyOf(i) === key)
          .map((i) => `${i % 3} ${Math.floor(i / 3)}`)
          .reverse();
        for (const maxMessages of [count, 3, 0]) {
          expect(await find(which, key, { ...ever, maxMessages })).toEqual(wanted.slice(0, maxMessages));
        }
        expect(await find(which, key, { ...ever, toMs: 1_000 })).toEqual([]);
        expect(await find(which, key, { ...ever, fromMs: Date.now() + 3_600_000 })).toEqual([]);
      }
    };
    await search(driven);
    await driven.close();
    const again = await open(definition, machine, traits.smallFiles);
    await search(again);
    await again.close();
  });

  it.skipIf(traits.hasTags)("refuses to look for tags, which its format does not have", async () => {
    const driven = await open(definition, machine);
    const [handle] = await driven.createTopic("t", 1);
    await driven.appendMany(handle!, 5);
    await driven.engine.flush();
    for (const tags of [["a"], []]) {
      await expect(driven.engine.fetch(handle!, 0, 1_000, () => expect.unreachable(), { tags })).rejects.toThrow(
        UnsupportedError,
      );
    }
    expect((await driven.engine.fetch(handle!, 0, 1_000_000, () => {}, {})).messageCount).toBe(5);
    await driven.close();
  });
}

/** Appends a message other than the one that belongs there. */
async function appendOwn(
  driven: Driven,
  partition: PartitionHandle,
  headers: readonly Header[],
  timestampMs: number,
  key: Uint8Array | null = null,
): Promise<void> {
  const message = new Message(heap, Buffer.from("own"), key, headers);
  driven.progress.get(partition)!.appendedTo++;
  while (!driven.engine.append(partition, message, timestampMs)) {
    driven.engine.poll();
    await turn();
  }
}

function describeFlushing(definition: EngineDefinition, machine: Machine): void {
  it.each(POLICIES)("flushes under %j without being polled, and acknowledges everything", async (flush) => {
    const driven = await open(definition, machine, { flush, lingerMs: 1_000_000, batchSizeBytes: 16_384 });
    expect(driven.engine.durability).toBe(flush === "sync" ? "D2" : "D1");
    const handles = await driven.createTopic("t", 3);
    for (const handle of handles) await driven.appendMany(handle, 20);
    await Promise.all([driven.engine.flush(), driven.engine.flush()]);
    expect([...driven.progress.values()].map(({ acknowledgedTo }) => acknowledgedTo)).toEqual([20, 20, 20]);
    await driven.engine.flush();
    expect(await driven.differences()).toEqual([]);
    await driven.close();
  });

  it("syncs by itself under every, and never under async", async () => {
    const driven = await open(definition, machine, { flush: { every: { messages: 10 } } });
    const [handle] = await driven.createTopic("t", 1);
    const before = driven.engine.counters().syncCalls;
    await driven.appendMany(handle!, 9);
    await driven.pollUntilAcknowledged();
    expect(driven.engine.counters().syncCalls).toBe(before);
    await driven.appendMany(handle!, 20);
    await driven.pollUntil("a sync after so many messages", () => driven.engine.counters().syncCalls > before);
    await driven.close();
  });

  it("syncs by itself when time has passed under every", async () => {
    const driven = await open(definition, machine, { flush: { every: { ms: 2 } } });
    const [handle] = await driven.createTopic("t", 1);
    const before = driven.engine.counters().syncCalls;
    await driven.appendMany(handle!, 1);
    await driven.pollUntil("a sync after so long", () => driven.engine.counters().syncCalls > before);
    await driven.close();
  });

  it("under sync acknowledges nothing before a sync has returned; many share one", async () => {
    const held = new SyncHoldingStorage(machine.storage);
    const driven = await Driven.open(definition, {
      directory: machine.directory,
      storage: held.storage,
      settings: { flush: "sync" },
    });
    const [handle] = await driven.createTopic("t", 1);
    held.isHolding = true;
    const before = driven.engine.counters().syncCalls;
    for (let i = 0; i < 64; i++) {
      await driven.appendMany(handle!, 1);
      if (i % 8 === 0) driven.engine.poll();
      if (i % 20 === 0) await turn();
    }
    for (let i = 0; i < 20; i++) {
      driven.engine.poll();
      await turn();
    }
    expect(driven.progress.get(handle!)!.acknowledgedTo).toBe(0);
    expect(driven.engine.counters().acknowledgedMessages).toBe(0);
    held.release();
    await driven.pollUntilAcknowledged();
    expect(driven.faults).toEqual([]);
    expect(driven.engine.counters().syncCalls - before).toBeLessThan(16);
    await driven.close();
  });
}

function describeClosing(definition: EngineDefinition, machine: Machine, traits: ConformanceTraits): void {
  it("closes, reopens and goes on", async () => {
    for (let round = 0; round < 3; round++) {
      const driven = await open(definition, machine, traits.smallFiles);
      expect(driven.engine.recovery).toMatchObject({ truncatedBytes: 0, repairs: [] });
      if (round > 0) expect(driven.engine.recovery.wasCleanShutdown).toBe(true);
      expect(await driven.differences()).toEqual([]);
      const handles = await driven.createTopic("t", round + 1);
      expect(handles.map((handle) => driven.engine.partitionInfo(handle).endOffset)).toEqual(
        handles.map((_, index) => (round - index) * 25),
      );
      for (const handle of handles) await driven.appendMany(handle, 25);
      await driven.close();
      expect(driven.faults).toEqual([]);
      expect([...driven.progress.values()].every((each) => each.acknowledgedTo === each.appendedTo)).toBe(true);
    }
  });

  it("closes once however often it is asked, and is of no use afterwards", async () => {
    const driven = await open(definition, machine);
    const [handle] = await driven.createTopic("t", 1);
    await driven.appendMany(handle!, 3);
    await Promise.all([driven.engine.close(), driven.engine.close()]);
    await driven.close();
    expect(() => driven.append(handle!)).toThrow(ClosedError);
    await expect(driven.engine.createTopic("u", 1)).rejects.toThrow(ClosedError);
    await expect(driven.engine.flush()).rejects.toThrow(ClosedError);
    await expect(driven.engine.fetch(handle!, 0, 1_000, () => {})).rejects.toThrow(ClosedError);
    expect(driven.engine.counters().appendedMessages).toBe(3);
  });

  it("gives back the heap's memory", async () => {
    // What is left after the first round may be kept for all: the next ones must find the same room.
    const largest: number[] = [];
    for (let round = 0; round < 3; round++) {
      const driven = await open(definition, machine, traits.smallFiles);
      const [handle] = await driven.createTopic("t", 1);
      await driven.appendMany(handle!, 100);
      await driven.engine.flush();
      await driven.read(handle!);
      await driven.close();
      const probe = heap.allocate(65_536);
      largest.push(probe);
      heap.release(probe);
    }
    expect(largest[2]).toBe(largest[0]);
  });

  it("is refused to a second opener, until it is closed", async () => {
    const driven = await open(definition, machine);
    await expect(open(definition, machine)).rejects.toThrow(OpenError);
    const [handle] = await driven.createTopic("t", 1);
    await driven.appendMany(handle!, 1);
    await driven.close();
    const again = await open(definition, machine);
    expect(await again.differences()).toEqual([]);
    await again.close();
  });

  it("refuses settings that it does not know", async () => {
    await expect(open(definition, machine, { batchSize: 1 })).rejects.toThrow(/batchSize/);
    await expect(open(definition, machine, { flush: "sometimes" })).rejects.toThrow(/flush/);
    const driven = await open(definition, machine);
    await driven.close();
  });
}

function describeManyFiles(definition: EngineDefinition, machine: Machine, traits: ConformanceTraits): void {
  it("keeps 200 partitions apart", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const handles = await driven.createTopic("t", 200);
    for (let round = 0; round < 4; round++) {
      for (const handle of handles) await driven.appendMany(handle, 1 + ((handle + round) % 2));
      driven.engine.poll();
    }
    await driven.engine.flush();
    expect(await driven.differences()).toEqual([]);
    await driven.close();
    const again = await open(definition, machine, traits.smallFiles);
    const ends = again.engine.partitions().map(({ endOffset }) => endOffset);
    expect(ends).toEqual(new Array(200).fill(6));
    expect(await again.differences()).toEqual([]);
    await again.close();
  });

  it("reads across many small files, before and after reopening", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const handles = await driven.createTopic("t", 2);
    for (let i = 0; i < 100; i++) {
      for (const handle of handles) await driven.appendMany(handle, 3);
      driven.engine.poll();
      await turn();
    }
    await driven.engine.flush();
    expect(await driven.differences()).toEqual([]);
    if (traits.rollsFiles) expect(driven.engine.counters().filesRolled).toBeGreaterThan(5);
    await driven.close();
    const again = await open(definition, machine, traits.smallFiles);
    expect(again.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0 });
    expect(await again.differences()).toEqual([]);
    await again.close();
  });

  it("reads back what was appended, whatever the order of appends, polls, flushes and reopenings", async () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ partition: fc.nat(3), count: fc.integer({ min: 1, max: 30 }) }) },
      { weight: 4, arbitrary: fc.constantFrom("poll" as const, "turn" as const) },
      { weight: 1, arbitrary: fc.constantFrom("flush" as const, "reopen" as const, "read" as const) },
    );
    const settings = fc.record({
      flush: fc.constantFrom(...POLICIES),
      batchSizeBytes: fc.constantFrom(0, 1_000, 4_096),
      lingerMs: fc.constantFrom(0, 1),
    });
    await fc.assert(
      fc.asyncProperty(settings, fc.array(step, { maxLength: 40 }), async (chosen, steps) => {
        machine.cleanUp();
        machine.prepare();
        let driven = await open(definition, machine, { ...traits.smallFiles, ...chosen });
        let handles: readonly PartitionHandle[] = await driven.createTopic("t", 4);
        for (const each of steps) {
          if (each === "poll") driven.engine.poll();
          else if (each === "turn") await turn();
          else if (each === "flush") await driven.engine.flush();
          else if (each === "read")
            await driven.engine.flush().then(async () => expect(await driven.differences()).toEqual([]));
          else if (each === "reopen") {
            await driven.close();
            expect(driven.faults).toEqual([]);
            driven = await open(definition, machine, { ...traits.smallFiles, ...chosen });
            handles = await driven.createTopic("t", 4);
          } else await driven.appendMany(handles[each.partition]!, each.count);
        }
        const expected = handles.map((handle) => driven.progress.get(handle)!.appendedTo);
        await driven.close();
        expect(driven.faults).toEqual([]);
        const again = await open(definition, machine, { ...traits.smallFiles, ...chosen });
        const found = (await again.createTopic("t", 4)).map((handle) => again.engine.partitionInfo(handle).endOffset);
        expect(found).toEqual(expected);
        expect(await again.differences()).toEqual([]);
        await again.close();
      }),
      { numRuns: machine.name === "in memory" ? 40 : 10 },
    );
  });
}

function describeKill(
  definition: EngineDefinition,
  traits: ConformanceTraits,
  variant: ConformanceVariant | null,
): void {
  const policies = variant === null ? POLICIES : POLICIES_OF_VARIANT;
  const machine = diskMachine();
  beforeEach(() => machine.prepare());
  afterEach(() => machine.cleanUp());

  it.each(policies)("has every acknowledged message after kill -9 under %j, in several lives", async (flush) => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const { directory } = machine;
    const settings = { ...variant?.settings, ...traits.smallFiles, flush };
    const { hasChecksums } = traits;
    const { wrongs } = await killTrial({
      definition,
      engine: definition.name,
      directory,
      settings,
      hasChecksums,
      seed,
    });
    expect({ seed, wrongs }).toEqual({ seed, wrongs: [] });
  });
}

function describePowerCut(definition: EngineDefinition, traits: ConformanceTraits, cuts: number): void {
  const settings = { ...traits.smallFiles, flush: "sync" };

  async function lossesBySeed(subject: EngineDefinition, failsACall: boolean): Promise<string[]> {
    const { hasChecksums } = traits;
    const losses: string[] = [];
    for (let seed = 0; seed < cuts; seed++) {
      const trial = { definition: subject, settings, seed, stepCount: POWER_CUT_STEPS, failsACall, hasChecksums };
      const lost = await powerCutTrial(trial).then(
        ({ wrongs }) => wrongs,
        (error: Error) => [error.stack ?? String(error)],
      );
      losses.push(...lost.map((loss) => `seed ${seed}: ${loss}`));
    }
    return losses;
  }

  it("under sync loses nothing acknowledged, wherever the power is cut, in recovery too", async () => {
    expect(await lossesBySeed(definition, false)).toEqual([]);
  });

  it("under sync loses nothing acknowledged when a storage call failed before", async () => {
    expect(await lossesBySeed(definition, true)).toEqual([]);
  });

  it("would be caught if it acknowledged before its sync", async () => {
    const broken: EngineDefinition = {
      ...definition,
      open: (options) => definition.open({ ...options, settings: { ...options.settings, flush: "async" } }),
    };
    expect((await lossesBySeed(broken, false)).filter((loss) => loss.includes("acknowledged"))).not.toEqual([]);
  });
}

/** Makes every call of `operation` fail with `code`. */
function failing(operation: StorageCall["operation"], code: string): (call: StorageCall) => string | null {
  return (call) => (call.operation === operation ? code : null);
}

function describeFaults(definition: EngineDefinition, traits: ConformanceTraits): void {
  const machine = memoryMachine();
  let storage: FaultyStorage;
  beforeEach(() => {
    machine.prepare();
    storage = machine.storage as FaultyStorage;
  });

  it("never acknowledges again after a failed sync, until it is reopened", async () => {
    const driven = await open(definition, machine, { ...traits.smallFiles, flush: "sync" });
    const [handle] = await driven.createTopic("t", 1);
    await driven.appendMany(handle!, 10);
    await driven.engine.flush();
    storage.fault = failing("sync", "EIO");
    await driven.appendMany(handle!, 2);
    await driven.pollUntil("the failure", () => driven.errors.length > 0);
    storage.fault = () => null;
    expect(driven.progress.get(handle!)!).toMatchObject({ acknowledgedTo: 10, failedCount: 2 });
    expect(driven.errors[0]!.message).toContain("EIO");
    expect(() => driven.append(handle!)).toThrow(LogFailedError);
    await expect(driven.engine.flush()).rejects.toThrow(LogFailedError);
    for (let i = 0; i < 20; i++) {
      driven.engine.poll();
      await turn();
    }
    expect(driven.progress.get(handle!)!.acknowledgedTo).toBe(10);
    expect(driven.faults).toEqual([]);
    await driven.dispose();
    const again = await open(definition, machine, { ...traits.smallFiles, flush: "sync" });
    const { rightTo, wrong } = await again.read(again.handleOf("t", 0)!);
    expect(wrong).toBeNull();
    expect(rightTo).toBeGreaterThanOrEqual(10);
    await again.appendMany(again.handleOf("t", 0)!, 5);
    await again.engine.flush();
    expect(await again.differences()).toEqual([]);
    await again.close();
  });

  it("on a full disk fails with its reason and stays readable; with room again it reopens and goes on", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const handles = await driven.createTopic("t", 3);
    for (const handle of handles) await driven.appendMany(handle, 30);
    await driven.engine.flush();
    storage.fault = ({ operation }) => (operation === "write" || operation === "allocate" ? "ENOSPC" : null);
    const reasons: unknown[] = [];
    for (let i = 0; i < 300 && reasons.length + driven.errors.length < 5; i++) {
      try {
        driven.append(handles[i % 3]!);
      } catch (error) {
        reasons.push(error);
      }
      driven.engine.poll();
      await turn();
    }
    reasons.push(...driven.errors);
    expect(reasons.length).toBeGreaterThan(0);
    for (const reason of reasons) {
      expect(isOperational(reason)).toBe(true);
      expect(String(reason)).toContain("ENOSPC");
    }
    for (const handle of handles) expect((await driven.read(handle)).rightTo).toBeGreaterThanOrEqual(30);
    const acknowledged = handles.map((handle) => driven.progress.get(handle)!.acknowledgedTo);
    expect(driven.faults).toEqual([]);
    await driven.dispose();
    storage.fault = () => null;
    const again = await open(definition, machine, traits.smallFiles);
    for (const [index, acknowledgedTo] of acknowledged.entries()) {
      const handle = again.handleOf("t", index)!;
      const { rightTo, wrong } = await again.read(handle);
      expect(wrong).toBeNull();
      expect(rightTo).toBeGreaterThanOrEqual(acknowledgedTo);
      await again.appendMany(handle, 20);
    }
    await again.engine.flush();
    expect(await again.differences()).toEqual([]);
    await again.close();
  });

  it("survives being out of file descriptors", async () => {
    const driven = await open(definition, machine, traits.smallFiles);
    const [handle] = await driven.createTopic("t", 1);
    await driven.appendMany(handle!, 5);
    await driven.engine.flush();
    storage.fault = failing("open", "EMFILE");
    const failure = await driven.createTopic("u", 2).catch((error: unknown) => error);
    if (failure instanceof Error) expect(isOperational(failure)).toBe(true);
    storage.fault = () => null;
    expect((await driven.read(handle!)).rightTo).toBe(5);
    await driven.dispose();
    const again = await open(definition, machine, traits.smallFiles);
    expect((await again.read(again.handleOf("t", 0)!)).rightTo).toBe(5);
    const [first] = await again.createTopic("u", 2);
    await again.appendMany(first!, 5);
    await again.engine.flush();
    expect(await again.differences()).toEqual([]);
    await again.close();
  });
}

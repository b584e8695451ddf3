/**
 * `partitioned-log` against Kafka's own storage classes, both ways: what either writes, cleanly closed or killed, the
 * other opens, reads and goes on with.
 */

import { createHash } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { partitionedLog } from "../partitioned-log/index.js";
import { Driven, type ReadMessage } from "./drive.js";
import { inspected } from "./inspected.js";
import {
  headers,
  type InteropMessage,
  keysAndValues,
  message,
  noise,
  outOfOrder,
  START_MS,
  series,
  toHex,
} from "./messages.js";
import { Peer, preparePeer } from "./peer.js";

const setup = await preparePeer("kafka");
if (setup.state === "absent") process.stderr.write(`${setup.reason}\n`);

interface Case {
  readonly name: string;
  /** Of `partitioned-log`; Kafka gets the same by its own names. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** By directory name, `topic-0`. */
  readonly partitions: Readonly<Record<string, InteropMessage[]>>;
  readonly messagesPerBatch: number;
}

const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

/** Long enough that snappy needs several of its 32 KiB chunks and lz4 several of its 64 KiB blocks. */
const LARGE = [message({ value: noise(7, 200_000) }), message({ at: 1, value: Buffer.alloc(200_000, "logduel ") })];

const CASES: readonly Case[] = [
  {
    name: "null and empty keys and values, headers, out-of-order timestamps, large values, an empty partition",
    settings: {},
    partitions: {
      "shapes-0": keysAndValues(),
      "shapes-1": headers(),
      "times-0": outOfOrder(),
      "large.topic_with-dashes-0": LARGE,
      "nothing-0": [],
    },
    messagesPerBatch: 4,
  },
  {
    name: "several segments with many index entries",
    settings: { segmentSizeBytes: 20_000, indexIntervalBytes: 600, batchSizeBytes: 2_000 },
    partitions: { "a-0": series(300, 400, 1), "a-1": series(40, 1_900, 2), "b-0": series(500, 20, 3) },
    messagesPerBatch: 5,
  },
  {
    name: "segments rolled by record time",
    settings: { segmentMs: 1_000, indexIntervalBytes: 100 },
    partitions: {
      "times-0": outOfOrder(),
      "times-1": series(20, 100).map((m, i) => ({ ...m, timestampMs: START_MS + i * 400 })),
    },
    messagesPerBatch: 1,
  },
  {
    name: "segments rolled by full indexes",
    settings: { indexSizeBytes: 96, indexIntervalBytes: 0 },
    partitions: { "full-0": series(60, 50) },
    messagesPerBatch: 1,
  },
  {
    name: "preallocated segments",
    settings: { segmentSizeBytes: 50_000, preallocate: true },
    partitions: { "a-0": series(200, 400), "a-1": series(3, 10), "nothing-0": [] },
    messagesPerBatch: 5,
  },
  {
    name: "segments written through mappings, assembled and indexed late",
    settings: {
      segmentSizeBytes: 150_000,
      indexIntervalBytes: 600,
      writePath: "mmap",
      mapWindowBytes: 65_536,
      assembly: "broker",
      indexBuilding: "deferred",
    },
    partitions: { "a-0": series(700, 400), "a-1": series(3, 10), "nothing-0": [] },
    messagesPerBatch: 5,
  },
  {
    name: "LogAppendTime",
    settings: { timestampType: "log-append", segmentSizeBytes: 5_000, indexIntervalBytes: 300 },
    partitions: { "stamped-0": series(60, 200), "stamped-1": outOfOrder() },
    messagesPerBatch: 3,
  },
  ...CODECS.map(
    (codec): Case => ({
      name: `compression ${codec}`,
      settings: { compression: codec, segmentSizeBytes: 500_000, batchSizeBytes: 20_000 },
      partitions: { "series-0": series(300, 1_000), "large-0": LARGE, "shapes-0": [...keysAndValues(), ...headers()] },
      messagesPerBatch: 10,
    }),
  ),
];

const KAFKA_NAMES: Readonly<Record<string, string>> = {
  segmentSizeBytes: "log.segment.bytes",
  segmentMs: "log.roll.ms",
  indexIntervalBytes: "log.index.interval.bytes",
  indexSizeBytes: "log.index.size.max.bytes",
  preallocate: "log.preallocate",
  timestampType: "log.message.timestamp.type",
};

function kafkaConfig(settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const config: Record<string, string> = {};
  for (const [name, value] of Object.entries(settings)) {
    const kafkaName = KAFKA_NAMES[name];
    if (kafkaName !== undefined) config[kafkaName] = value === "log-append" ? "LogAppendTime" : String(value);
  }
  return config;
}

interface KafkaRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: [string, string | null][];
  readonly codec: string;
  readonly timestampType: string;
  readonly isControl: boolean;
}

interface KafkaPartition {
  readonly topic: string;
  readonly partition: number;
  readonly records: KafkaRecord[];
}

interface KafkaOpened {
  readonly wasClean: boolean;
  readonly logs: {
    topic: string;
    partition: number;
    startOffset: number;
    endOffset: number;
    recoveryPoint: number;
    segments: { baseOffset: number; sizeBytes: number; offsetEntries: number; timeEntries: number }[];
  }[];
}

describe.skipIf(setup.state === "absent")("partitioned-log and Kafka", () => {
  let root: string;
  let peer: Peer;
  let directoryCount = 0;

  beforeAll(() => {
    if (setup.state === "absent") return;
    root = mkdtempSync(join(tmpdir(), "logduel-kafka-"));
    peer = new Peer(setup);
  });

  afterAll(async () => {
    await peer.end();
    rmSync(root, { recursive: true, force: true });
  });

  function newDirectory(): string {
    const directory = join(root, String(directoryCount++));
    mkdirSync(directory);
    return directory;
  }

  test("builds the batches of the golden vectors", async () => {
    const records = [
      { timestampMs: START_MS, key: "6b31", value: "68656c6c6f" },
      { timestampMs: START_MS + 5, key: null, value: "776f726c6421", headers: [["h", "76"]] },
    ];
    const hex = await peer.request<string>("golden", { batch: { records }, baseOffset: 0 });
    expect(hex).toBe(
      "000000000000000000000050ffffffff02bb4a0de20000000000010000018bcfe568000000018bcfe56805ffffffffffffffffffff" +
        "ffffffff000000021a000000046b310a68656c6c6f0020000a02010c776f726c64210202680276",
    );
  });

  for (const written of CASES) {
    describe(written.name, () => {
      const expected = (directoryName: string) => written.partitions[directoryName]!;
      let closed: string;
      let killed: string;

      beforeAll(async () => {
        ({ closed, killed } = await writeHere(written));
      });

      test("written here, closed, opened by Kafka", async () => {
        expect(await dump(closed, true)).toEqual([]);
        const before = contents(closed);
        const opened = await open(closed, written.settings);
        expect(opened.wasClean).toBe(true);
        await expectKafkaReads(closed, written, expected);
        await peer.request("close", { directory: closed });
        expect(contents(closed)).toEqual(before);
      });

      test("written here, killed, opened by Kafka", async () => {
        expect(inspected(killed)).toMatchObject(soundReport(written, false));
        const opened = await open(killed, written.settings);
        expect(opened.wasClean).toBe(false);
        await expectKafkaReads(killed, written, expected);
        await peer.request("close", { directory: killed });
        expect(inspected(killed)).toMatchObject(soundReport(written, true));
        expect(await dump(killed, true)).toEqual([]);
      });

      test("written here, and the same batches given to Kafka, are the same files", async () => {
        const replayed = newDirectory();
        await open(replayed, written.settings);
        await peer.request("replay", { directory: replayed, from: closed });
        await peer.request("close", { directory: replayed });
        expect(logsAndIndexes(closed)).toEqual(logsAndIndexes(replayed));
      });

      test("written by Kafka, closed, opened here", async () => {
        const directory = newDirectory();
        await writeByKafka(peer, directory, written);
        expect(inspected(directory)).toEqual({ ...soundReport(written, null), inUse: true });
        await peer.request("close", { directory });
        expect(inspected(directory)).toMatchObject(soundReport(written, true));
        const before = contents(directory);
        const driven = await Driven.open(partitionedLog, directory, written.settings);
        expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
        await expectReadHere(driven, written, expected);
        await driven.engine.close();
        expect(contents(directory)).toEqual(before);
      });

      test("appended to in turns", async () => {
        const directory = closed;
        const more = series(30, 100, 9);
        const all = (name: string) => [...expected(name), ...more, ...more];
        await open(directory, written.settings);
        await appendByKafka(peer, directory, written, () => more);
        await peer.request("close", { directory });
        const driven = await Driven.open(partitionedLog, directory, written.settings);
        expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
        for (const name of Object.keys(written.partitions)) driven.append(handleOf(driven, name), more, 7);
        await expectReadHere(driven, written, all);
        await driven.engine.close();
        expect(await dump(directory, true)).toEqual([]);
        await open(directory, written.settings);
        await expectKafkaReads(directory, written, all);
        await peer.request("close", { directory });
      });
    });
  }

  test("written by Kafka, killed, opened here", async () => {
    if (setup.state === "absent") return;
    const victim = new Peer(setup);
    const directories = new Map(CASES.map((written) => [written, newDirectory()]));
    try {
      for (const [written, directory] of directories) await writeByKafka(victim, directory, written);
    } finally {
      await victim.kill();
    }
    for (const [written, directory] of directories) {
      expect(inspected(directory)).toMatchObject(soundReport(written, false));
      const driven = await Driven.open(partitionedLog, directory, written.settings);
      expect(driven.engine.recovery.wasCleanShutdown).toBe(false);
      await expectReadHere(driven, written, (name) => written.partitions[name]!);
      await driven.engine.close();
      expect(await dump(directory, true)).toEqual([]);
      await open(directory, written.settings);
      await expectKafkaReads(directory, written, (name) => written.partitions[name]!);
      await peer.request("close", { directory });
    }
  });

  describe("a log that a crash has torn is cut where Kafka cuts it", () => {
    const torn: Case = {
      name: "torn",
      settings: { segmentSizeBytes: 20_000, indexIntervalBytes: 600, batchSizeBytes: 2_000 },
      partitions: { "t-0": series(200, 400, 1) },
      messagesPerBatch: 4,
    };
    const damages: Record<string, (logs: string[]) => void> = {
      "in the middle of the last batch": (logs) => truncateSync(logs.at(-1)!, readFileSync(logs.at(-1)!).length - 100),
      "inside a batch's header": (logs) => truncateSync(logs.at(-1)!, lastBatchAt(logs.at(-1)!) + 30),
      "with zeros after the last batch": (logs) => appendFileSync(logs.at(-1)!, Buffer.alloc(5_000)),
      "with noise after the last batch": (logs) => appendFileSync(logs.at(-1)!, noise(3, 333)),
      "by a changed bit in the last batch": (logs) => flipBit(logs.at(-1)!, lastBatchAt(logs.at(-1)!) + 70),
      "by a changed bit in an earlier segment": (logs) => flipBit(logs.at(-2)!, lastBatchAt(logs.at(-2)!) + 70),
      "to nothing in the last segment": (logs) => truncateSync(logs.at(-1)!, 0),
      "with its indexes lost": (logs) => {
        for (const log of logs) for (const index of indexesOf(log)) rmSync(index, { force: true });
      },
      "with leftovers of deletions and checkpoints": ([first, second]) => {
        for (const suffix of [".deleted", ".cleaned"]) copyFileSync(first!, first! + suffix);
        for (const index of indexesOf(second!)) copyFileSync(second!, `${index}.deleted`);
        copyFileSync(first!, join(first!, "../leader-epoch-checkpoint.tmp"));
        copyFileSync(first!, join(first!, "../00000000000000009999.index"));
      },
      "in the middle of a swap": ([, second]) => {
        renameSync(second!, `${second!}.swap`);
      },
      "between a swap's renames": ([, second]) => {
        copyFileSync(second!, `${second!}.swap`);
      },
      "with zeros for indexes": (logs) => {
        for (const log of logs) for (const index of indexesOf(log)) writeFileSync(index, Buffer.alloc(24_000));
      },
    };

    test.each(Object.entries(damages))("%s", async (_name, damage) => {
      const { killed } = await writeHere(torn);
      const logs = readdirSync(join(killed, "t-0"))
        .filter((name) => name.endsWith(".log"))
        .map((name) => join(killed, "t-0", name));
      expect(logs.length).toBeGreaterThan(2);
      damage(logs);
      const copy = newDirectory();
      cpSync(killed, copy, { recursive: true });

      const opened = await open(killed, torn.settings);
      const [byKafka] = await peer.request<KafkaPartition[]>("read", { directory: killed, maxBytes: 4_096 });
      await peer.request("close", { directory: killed });
      const driven = await Driven.open(partitionedLog, copy, torn.settings);
      const here = await driven.read(driven.handle("t", 0));
      const { endOffset } = driven.engine.partitionInfo(driven.handle("t", 0));
      await driven.engine.close();

      expect(endOffset).toBe(opened.logs[0]!.endOffset);
      expect(here.map(comparable)).toEqual(byKafka!.records.map(comparableOfKafka));
      expect(await dump(copy, true)).toEqual([]);
      expect(logsAndIndexes(copy)).toEqual(logsAndIndexes(killed));
    });
  });

  test("a log of batches with every codec in turn is read here", async () => {
    const directory = newDirectory();
    const settings = { segmentSizeBytes: 40_000, indexIntervalBytes: 1_000 };
    await open(directory, settings);
    const messages = series(300, 600);
    for (const [i, batch] of chunks(messages, 6).entries()) {
      const request = { codec: CODECS[i % CODECS.length], records: batch.map(asRequest) };
      await peer.request("append", { directory, topic: "mixed", partition: 0, batch: request });
    }
    await peer.request("close", { directory });
    const batchesByCodec = Object.fromEntries(CODECS.map((codec) => [codec, 10]));
    expect(inspected(directory)).toMatchObject({ damage: [], messageCount: 300, codecs: batchesByCodec });
    const driven = await Driven.open(partitionedLog, directory, settings);
    const mixed = driven.handle("mixed", 0);
    expect((await driven.read(mixed)).map(comparable)).toEqual(
      messages.map((m, offset) => comparable({ ...m, offset })),
    );
    for (const offset of [1, 7, 20, 150, 299]) expect(await driven.readAt(mixed, offset)).toBe(offset);
    await driven.engine.close();
  });

  test("records deleted by request stay deleted, transactions and idempotent producers are read", async () => {
    const directory = newDirectory();
    const settings = { segmentSizeBytes: 2_000 };
    await open(directory, settings);
    const plain = series(60, 100);
    for (const batch of chunks(plain, 4)) {
      await peer.request("append", {
        directory,
        topic: "deleted",
        partition: 0,
        batch: { records: batch.map(asRequest) },
      });
    }
    await peer.request("deleteBefore", { directory, topic: "deleted", partition: 0, offset: 41 });
    const producer = { producerId: 1_000, producerEpoch: 0 };
    for (const [i, commit] of [true, false, true].entries()) {
      const batch = {
        ...producer,
        baseSequence: i * 4,
        isTransactional: true,
        records: plain.slice(i * 4, i * 4 + 4).map(asRequest),
      };
      await peer.request("append", { directory, topic: "transactions", partition: 0, batch });
      await peer.request("endTransaction", { directory, topic: "transactions", partition: 0, ...producer, commit });
    }
    expect(inspected(directory)).toMatchObject({ inUse: true, damage: [] });
    await peer.request("close", { directory });
    expect(inspected(directory)).toMatchObject({ closedCleanly: true, damage: [] });

    const driven = await Driven.open(partitionedLog, directory, settings);
    expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0 });
    const deleted = driven.handle("deleted", 0);
    expect(driven.engine.partitionInfo(deleted)).toMatchObject({ startOffset: 41, endOffset: 60 });
    expect((await driven.read(deleted)).map(comparable)).toEqual(
      plain.slice(41).map((m, i) => comparable({ ...m, offset: 41 + i })),
    );
    const transactions = driven.handle("transactions", 0);
    expect(driven.engine.partitionInfo(transactions)).toMatchObject({ startOffset: 0, endOffset: 15 });
    // The markers that end a transaction (offsets 4, 9, 14) are Kafka's own, not messages.
    const offsets = [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13];
    expect((await driven.read(transactions)).map(comparable)).toEqual(
      offsets.map((offset, i) => comparable({ ...plain[i]!, offset })),
    );
    driven.append(deleted, plain.slice(0, 3), 1);
    driven.append(transactions, plain.slice(0, 3), 1);
    await driven.engine.close();

    const opened = await open(directory, settings);
    expect(opened).toMatchObject({
      wasClean: true,
      logs: [
        { topic: "deleted", startOffset: 41, endOffset: 63 },
        { topic: "transactions", startOffset: 0, endOffset: 18 },
      ],
    });
    await peer.request("close", { directory });
  });

  test("a directory that one holds is refused by the other", async () => {
    const directory = newDirectory();
    await open(directory, {});
    await expect(Driven.open(partitionedLog, directory, {})).rejects.toThrow();
    await peer.request("close", { directory });
    const driven = await Driven.open(partitionedLog, directory, {});
    await expect(open(directory, {})).rejects.toThrow(/lock/i);
    await driven.engine.close();
  });

  /** Two directories of the same messages: one closed, one as a kill would leave it. */
  async function writeHere(written: Case): Promise<{ closed: string; killed: string }> {
    const [closed, killed] = [newDirectory(), newDirectory()];
    const driven = await Driven.open(partitionedLog, closed, written.settings);
    const names = Object.keys(written.partitions);
    for (const topic of new Set(names.map((name) => parse(name).topic))) {
      await driven.engine.createTopic(topic, names.filter((name) => parse(name).topic === topic).length);
    }
    for (const name of names)
      driven.append(handleOf(driven, name), written.partitions[name]!, written.messagesPerBatch);
    await driven.flush();
    cpSync(closed, killed, { recursive: true });
    rmSync(join(killed, ".lock"), { force: true });
    await driven.engine.close();
    return { closed, killed };
  }

  async function writeByKafka(writer: Peer, directory: string, written: Case): Promise<void> {
    await writer.request("open", { directory, config: kafkaConfig(written.settings) });
    await appendByKafka(writer, directory, written, (name) => written.partitions[name]!);
  }

  async function appendByKafka(
    writer: Peer,
    directory: string,
    written: Case,
    messagesOf: (directoryName: string) => InteropMessage[],
  ): Promise<void> {
    const codec = written.settings.compression ?? "none";
    for (const name of Object.keys(written.partitions)) {
      const { topic, partition } = parse(name);
      await writer.request("lookup", { directory, topic, partition, timestampsMs: [] }); // creates it, empty as it may be
      for (const batch of chunks(messagesOf(name), written.messagesPerBatch)) {
        await writer.request("append", {
          directory,
          topic,
          partition,
          batch: { codec, records: batch.map(asRequest) },
        });
      }
    }
  }

  async function open(directory: string, settings: Readonly<Record<string, unknown>>): Promise<KafkaOpened> {
    return await peer.request<KafkaOpened>("open", { directory, config: kafkaConfig(settings) });
  }

  async function dump(directory: string, indexesAreTrimmed: boolean): Promise<string[]> {
    return (await peer.request<{ problems: string[] }>("dump", { directory, indexesAreTrimmed })).problems;
  }

  async function expectKafkaReads(directory: string, written: Case, expected: (name: string) => InteropMessage[]) {
    const partitions = await peer.request<KafkaPartition[]>("read", { directory, maxBytes: 3_000 });
    expect(partitions.map(nameOf).sort()).toEqual(Object.keys(written.partitions).sort());
    for (const partition of partitions) {
      const messages = expected(nameOf(partition)).map((m, offset) => ({ ...m, offset }));
      const isStamped = written.settings.timestampType === "log-append";
      if (isStamped) expectStamped(partition.records);
      expect(partition.records.map(comparableOfKafka).map(isStamped ? withoutTime : same)).toEqual(
        messages.map(comparable).map(isStamped ? withoutTime : same),
      );
      if (isStamped || messages.length === 0) continue;
      const timestampsMs = [0, ...messages.slice(0, 20).map((m) => m.timestampMs), Number.MAX_SAFE_INTEGER];
      const found = await peer.request("lookup", { directory, ...parse(nameOf(partition)), timestampsMs });
      expect(found).toEqual(timestampsMs.map((ms) => messages.find((m) => m.timestampMs >= ms)?.offset ?? null));
    }
  }
});

/** What `npm run inspect` has to say of a directory that holds a case's messages. */
function soundReport({ partitions, settings }: Case, closedCleanly: boolean | null) {
  const codec = String(settings.compression ?? "none");
  const messageCount = Object.values(partitions).flat().length;
  return { damage: [], closedCleanly, messageCount, codecs: { [codec]: expect.any(Number) } };
}

async function expectReadHere(driven: Driven, written: Case, expected: (name: string) => InteropMessage[]) {
  const names = driven.engine.partitions().map((partition) => `${partition.topic}-${partition.index}`);
  expect(names.sort()).toEqual(Object.keys(written.partitions).sort());
  for (const name of names) {
    const handle = handleOf(driven, name);
    const messages = expected(name).map((m, offset) => ({ ...m, offset }));
    expect(driven.engine.partitionInfo(handle)).toMatchObject({ startOffset: 0, endOffset: messages.length });
    const read = await driven.read(handle);
    const isStamped = written.settings.timestampType === "log-append";
    if (isStamped) expectStamped(read);
    expect(read.map(comparable).map(isStamped ? withoutTime : same)).toEqual(
      messages.map(comparable).map(isStamped ? withoutTime : same),
    );
    for (let offset = 0; offset < messages.length; offset += 17)
      expect(await driven.readAt(handle, offset)).toBe(offset);
  }
}

/** Stamped by whoever appended, in this test's time and in order, whatever the producer said. */
function expectStamped(messages: readonly { timestampMs: number }[]): void {
  const timestampsMs = messages.map((m) => m.timestampMs);
  expect(timestampsMs).toEqual([...timestampsMs].sort((a, b) => a - b));
  for (const timestampMs of timestampsMs) expect(Math.abs(Date.now() - timestampMs)).toBeLessThan(600_000);
}

interface Comparable {
  offset: number;
  timestampMs: number;
  key: string | null;
  value: string | null;
  headers: (readonly [string, string | null])[];
}

function comparable({ offset, timestampMs, key, value, headers }: ReadMessage): Comparable {
  return { offset, timestampMs, key: toHex(key), value: toHex(value), headers: headers.map(([k, v]) => [k, toHex(v)]) };
}

function comparableOfKafka({ offset, timestampMs, key, value, headers }: KafkaRecord): Comparable {
  return { offset, timestampMs, key, value, headers };
}

function withoutTime(compared: Comparable): Comparable {
  return { ...compared, timestampMs: 0 };
}

function same(compared: Comparable): Comparable {
  return compared;
}

function asRequest({ timestampMs, key, value, headers }: InteropMessage): Record<string, unknown> {
  return { timestampMs, key: toHex(key), value: toHex(value), headers: headers.map(([k, v]) => [k, toHex(v)]) };
}

function nameOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}-${partition}`;
}

function parse(name: string): { topic: string; partition: number } {
  const dash = name.lastIndexOf("-");
  return { topic: name.slice(0, dash), partition: Number(name.slice(dash + 1)) };
}

function handleOf(driven: Driven, name: string): number {
  const { topic, partition } = parse(name);
  return driven.handle(topic, partition);
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

/**
 * What lies in a log dir, by path: a log's or index's hash, a text checkpoint's entries (their order is nobody's concern).
 * Left out: the lock, which Kafka removes; producer snapshots, which only Kafka has; checkpoints that hold nothing.
 */
function contents(directory: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === ".lock" || entry.name.endsWith(".snapshot")) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    const content = entry.name.endsWith("-checkpoint")
      ? bytes.toString().split("\n").slice(2, -1).sort().join("; ")
      : createHash("sha256").update(bytes).digest("hex");
    if (content !== "") files[path.slice(directory.length + 1)] = content;
  }
  return files;
}

/** The files of a log dir whose bytes follow from the batches alone. */
function logsAndIndexes(directory: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(contents(directory)).filter(([path]) => /\.(log|index|timeindex)$/.test(path)),
  );
}

function indexesOf(log: string): string[] {
  return [".index", ".timeindex"].map((suffix) => log.replace(/\.log$/, suffix));
}

function lastBatchAt(log: string): number {
  const bytes = readFileSync(log);
  let at = 0;
  for (let next = 0; next < bytes.length; next += 12 + bytes.readInt32BE(next + 8)) at = next;
  return at;
}

function flipBit(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 0x10;
  truncateSync(path, 0);
  appendFileSync(path, bytes);
}

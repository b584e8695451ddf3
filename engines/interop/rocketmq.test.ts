/**
 * `commitlog` against RocketMQ's own DefaultMessageStore, both ways: what either writes, cleanly closed or killed, the
 * other opens, reads and goes on with.
 */

import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commitlog } from "../commitlog/index.js";
import { Driven, type ReadMessage } from "./drive.js";
import { inspected } from "./inspected.js";
import { type InteropMessage, message, noise, outOfOrder, START_MS, toHex } from "./messages.js";
import { Peer, preparePeer } from "./peer.js";

const setup = await preparePeer("rocketmq");
if (setup.state === "absent") process.stderr.write(`${setup.reason}\n`);

interface Case {
  readonly name: string;
  /** Of `commitlog`; RocketMQ gets the same by its own names. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** In the order in which they are written: one commitlog holds them all. */
  readonly messages: readonly QueueMessage[];
}

interface QueueMessage extends InteropMessage {
  readonly topic: string;
  readonly queueId: number;
}

/** Of a record without body, topic and properties, V1, both hosts IPv4. */
const FIXED_SIZE_BYTES = 91;
const BLANK_SIZE_BYTES = 8;
const RETRY_TOPIC = `%RETRY%${"long-group-name-".repeat(12)}`;

/** So small that the cases fill files of the key index, and that its hashes share slots. */
const SMALL_INDEX = { keyIndexSlots: 20, keyIndexItems: 60 };

const CASES_OF_THE_LOG: readonly Case[] = [
  {
    name: "keys, tags, long properties, empty and large bodies",
    settings: { segmentSizeBytes: 1_048_576 },
    messages: [
      to("plain", 0, { value: Buffer.from("Hello") }),
      to("plain", 0, { value: Buffer.alloc(0) }),
      to("plain", 3, { value: noise(1, 300_000) }),
      to("keys", 0, { key: Buffer.from("parcel-8") }),
      to("keys", 0, { key: Buffer.from("three words here") }),
      to("keys", 1, { key: Buffer.from("schlüssel-😀") }),
      to("keys", 0, { key: Buffer.from("parcel-8"), headers: [["TAGS", Buffer.from("delivered")]] }),
      to("tags", 0, { headers: [["TAGS", Buffer.from("delivered")]] }),
      to("tags", 0, { headers: [["TAGS", Buffer.from("lost")]] }),
      to("tags", 0, {}),
      to("tags", 0, { headers: [["TAGS", Buffer.from("größer €")]] }),
      // "Aa" and "BB" have one hash: a filter that looks at no more would take both.
      to("tags", 0, { headers: [["TAGS", Buffer.from("Aa")]] }),
      to("tags", 0, { headers: [["TAGS", Buffer.from("BB")]] }),
      to("long", 0, { headers: [["LONG", Buffer.alloc(32_000, "x")]] }),
      to("long", 0, {
        key: Buffer.from("k"),
        headers: Array.from({ length: 300 }, (_, i) => [`p${i}`, Buffer.from(`v${i}`)]),
      }),
    ],
  },
  {
    name: "several files of commitlog and queues",
    settings: { segmentSizeBytes: 16_384, consumequeueFileSizeBytes: 1_000 },
    messages: Array.from({ length: 400 }, (_, i) =>
      to(i % 3 === 0 ? "a" : "b", i % 2, { at: i, value: noise(i, (i * 37) % 500), key: Buffer.from(`key-${i % 50}`) }),
    ),
  },
  {
    name: "messages that exactly fit a file and that miss by a byte",
    settings: { segmentSizeBytes: 4_096 },
    messages: fitting(4_096),
  },
  {
    name: "a last message that exactly fits its file",
    settings: { segmentSizeBytes: 4_096 },
    messages: fitting(4_096).slice(0, 2),
  },
  {
    name: "born times out of order",
    settings: { segmentSizeBytes: 4_096 },
    messages: outOfOrder().map((each) => ({ ...each, topic: "times", queueId: 0 })),
  },
  {
    name: "IPv6 hosts",
    settings: { bornHost: "[2001:db8::1]:50000", storeHost: "[::1]:10911", segmentSizeBytes: 4_096 },
    messages: Array.from({ length: 60 }, (_, i) => to("v6", i % 2, { at: i, value: noise(i, i) })),
  },
  {
    name: "V2 topics",
    settings: { segmentSizeBytes: 4_096 },
    messages: Array.from({ length: 40 }, (_, i) =>
      to(i % 2 === 0 ? RETRY_TOPIC : "short", 0, { at: i, value: noise(i, i), key: Buffer.from(`k${i}`) }),
    ),
  },
  {
    name: "a checksum of the whole record",
    settings: { appendPropertyCrc: true, segmentSizeBytes: 4_096 },
    messages: Array.from({ length: 60 }, (_, i) =>
      to("checked", 0, { at: i, value: noise(i, i), headers: i % 2 === 0 ? [] : [["TAGS", Buffer.from(`t${i}`)]] }),
    ),
  },
  {
    name: "bodies compressed by zlib, no checksums",
    settings: { compression: "zlib", compressionThresholdBytes: 100, checksum: false, segmentSizeBytes: 1_048_576 },
    messages: compressed(),
  },
  {
    name: "bodies compressed by lz4",
    settings: { compression: "lz4", compressionThresholdBytes: 100, segmentSizeBytes: 1_048_576 },
    messages: compressed(),
  },
  {
    name: "bodies compressed by zstd; written by write, assembled by producers, indexed inline",
    settings: {
      ...{ compression: "zstd", compressionThresholdBytes: 100, segmentSizeBytes: 1_048_576 },
      ...{ writePath: "write", assembly: "producer", indexBuilding: "inline" },
    },
    messages: compressed(),
  },
  {
    name: "batches",
    settings: { batchSizeBytes: 2_000, lingerMs: 60_000, segmentSizeBytes: 8_192 },
    messages: Array.from({ length: 200 }, (_, i) => to("batched", i < 100 ? 0 : 1, { at: i, value: noise(i, 100) })),
  },
];

const CASES: readonly Case[] = CASES_OF_THE_LOG.map((each) => ({
  ...each,
  settings: { ...SMALL_INDEX, ...each.settings },
}));

const several = CASES.find(({ settings }) => settings.consumequeueFileSizeBytes !== undefined)!;

const ROCKETMQ_NAMES: Readonly<Record<string, string>> = {
  segmentSizeBytes: "mappedFileSizeCommitLog",
  consumequeueFileSizeBytes: "mappedFileSizeConsumeQueue",
  appendPropertyCrc: "enabledAppendPropCRC",
  checksum: "checkCRCOnRecover",
  keyIndexSlots: "maxHashSlotNum",
  keyIndexItems: "maxIndexNum",
};

function rocketmqConfig(settings: Case["settings"]): Record<string, string> {
  const config: Record<string, string> = {};
  for (const [name, value] of Object.entries(settings)) {
    const rocketmqName = ROCKETMQ_NAMES[name];
    if (rocketmqName !== undefined) config[rocketmqName] = String(value);
  }
  return config;
}

interface RocketmqMessage {
  readonly queueOffset: number;
  readonly physicalOffset: number;
  readonly sizeBytes: number;
  readonly body: string;
  readonly sysFlag: number;
  readonly bornTimestampMs: number;
  readonly bornHost: string;
  readonly storeTimestampMs: number;
  readonly storeHost: string;
  readonly properties: Record<string, string>;
}

interface RocketmqQueue {
  readonly topic: string;
  readonly queueId: number;
  readonly minOffset: number;
  readonly maxOffset: number;
  readonly messages: RocketmqMessage[];
}

interface Put {
  readonly status: string;
  readonly queueOffset: number;
  readonly physicalOffset: number;
  readonly sizeBytes: number;
}

describe.skipIf(setup.state === "absent")("commitlog and RocketMQ", () => {
  let root: string;
  let peer: Peer;
  let directoryCount = 0;
  const openedByPeer: string[] = [];

  beforeAll(() => {
    if (setup.state === "absent") return;
    root = mkdtempSync(join(tmpdir(), "logduel-rocketmq-"));
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

  test("encodes the golden vector", async () => {
    const directory = newDirectory();
    await open(directory, { segmentSizeBytes: 4_096 });
    const golden = to("TopicTest", 3, { value: Buffer.from("Hello"), key: Buffer.from("parcel-8") });
    const headers = [
      ["UNIQ_KEY", Buffer.from("7F0000012A9F18B4AAC20000000000AA")],
      ["TAGS", Buffer.from("delivered")],
    ] as const;
    const request = asRequest({ ...golden, headers }, { bornHost: "127.0.0.1:50000", storeHost: "192.168.1.10:10911" });
    const [put] = await peer.request<Put[]>("put", { directory, messages: [request] });
    expect(put).toMatchObject({ status: "PUT_OK", sizeBytes: 176 });
    const record = readFileSync(join(directory, "commitlog", "0".repeat(20))).subarray(0, 176);
    record.writeBigInt64BE(7n, 20); // the vector's queue offset,
    record.writeBigInt64BE(4_096n, 28); // physical offset
    record.writeBigInt64BE(BigInt(START_MS + 123), 56); // and store timestamp
    expect(record.toString("hex")).toBe(
      "000000b0daa320a777d189820000000300000000000000000000000700000000" +
        "00001000000000000000018bcfe568007f0000010000c3500000018bcfe5687b" +
        "c0a8010a00002a9f0000000000000000000000000000000548656c6c6f09546f" +
        "7069635465737400474b4559530170617263656c2d3802554e49515f4b455901" +
        "3746303030303031324139463138423441414332303030303030303030304141" +
        "02544147530164656c69766572656402",
    );
  });

  describe("written here", () => {
    const written = new Map<Case, { closed: string; killed: string }>();

    beforeAll(async () => {
      for (const each of CASES) written.set(each, await writeHere(each));
    });

    for (const each of CASES)
      test(`${each.name}: closed, opened by RocketMQ`, async () => {
        const { closed } = written.get(each)!;
        expect(inspected(closed)).toMatchObject(soundReport(each, true));
        expect(await open(closed, each.settings)).toMatchObject({ wasClean: true, minPhysicalOffset: 0 });
        await expectRocketmqReads(closed, each, each.messages);
        await putByRocketmq(peer, closed, each, each.messages);
        await expectRocketmqReads(closed, each, [...each.messages, ...each.messages]);
      });

    for (const each of CASES)
      test(`${each.name}: killed, opened by RocketMQ`, async () => {
        const { killed } = written.get(each)!;
        expect(inspected(killed)).toMatchObject(soundReport(each, false));
        expect(await open(killed, each.settings)).toMatchObject({ wasClean: false, minPhysicalOffset: 0 });
        await expectRocketmqReads(killed, each, each.messages);
        await expectFoundByKey(killed, each.messages); // an unclean opening builds the key index anew
        await putByRocketmq(peer, killed, each, each.messages);
        await expectRocketmqReads(killed, each, [...each.messages, ...each.messages]);
      });

    test("and closed again by RocketMQ", closeAll);

    // RocketMQ builds no index after a clean shutdown: it answers from the one that it finds.
    test("RocketMQ finds by key what was written here and closed, and goes on with the index", async () => {
      for (const each of CASES) {
        const { closed } = await writeHere(each);
        const indexes = readdirSync(join(closed, "index"));
        await open(closed, each.settings);
        expect(readdirSync(join(closed, "index"))).toEqual(indexes);
        await expectFoundByKey(closed, each.messages);
        await putByRocketmq(peer, closed, each, each.messages);
        await expectFoundByKey(closed, [...each.messages, ...each.messages]);
      }
    });

    for (const each of CASES)
      test(`${each.name}: opened here again`, async () => {
        for (const directory of Object.values(written.get(each)!)) {
          expect(inspected(directory)).toMatchObject({ closedCleanly: true, damage: [] });
          const driven = await Driven.open(commitlog, directory, each.settings);
          expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
          await expectReadHere(driven, [...each.messages, ...each.messages]);
          await appendHere(driven, each.messages);
          await driven.engine.close();
          await open(directory, each.settings);
          await expectRocketmqReads(directory, each, [...each.messages, ...each.messages, ...each.messages]);
        }
      });

    for (const each of CASES) {
      // That checksum covers the store timestamp, which differs; a batch goes whole into the next file, single messages do
      // not; RocketMQ has no way to leave the body's checksum out.
      if (each.settings.checksum === false) continue;
      if (each.settings.appendPropertyCrc === true || each.settings.batchSizeBytes !== undefined) continue;
      // RocketMQ names an index file by the millisecond in which it begins it, and mixes two that begin in one.
      const again = { retry: 3 };
      test(`${each.name}: the same messages given to RocketMQ are the same files`, again, async () => {
        const { closed } = await writeHere(each);
        const replayed = newDirectory();
        await open(replayed, each.settings);
        await peer.request("replay", { directory: replayed, from: closed });
        expect(contents(closed)).toEqual(contents(replayed));
        expect(indexContents(closed)).toEqual(indexContents(replayed));
      });
    }

    test("and closed by RocketMQ in the end", closeAll);
  });

  describe("written by RocketMQ", () => {
    const closed = new Map<Case, string>();
    const killed = new Map<Case, string>();

    beforeAll(async () => {
      for (const each of CASES) {
        closed.set(each, newDirectory());
        await open(closed.get(each)!, each.settings);
        await putByRocketmq(peer, closed.get(each)!, each, each.messages);
      }
      await closeAll();
      if (setup.state === "absent") return;
      const victim = new Peer(setup);
      try {
        for (const each of CASES) {
          killed.set(each, newDirectory());
          await victim.request("open", { directory: killed.get(each)!, config: rocketmqConfig(each.settings) });
          await putByRocketmq(victim, killed.get(each)!, each, each.messages);
        }
      } finally {
        await victim.kill();
      }
    });

    for (const each of CASES)
      test(`${each.name}: closed, opened here`, async () => {
        const directory = closed.get(each)!;
        expect(inspected(directory)).toMatchObject(soundReport(each, true));
        const before = contents(directory);
        const driven = await Driven.open(commitlog, directory, each.settings);
        expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
        await expectReadHere(driven, each.messages);
        await expectFoundByKeyHere(driven, each.messages);
        await driven.engine.close();
        expect(contents(directory)).toEqual(before);
      });

    for (const each of CASES)
      test(`${each.name}: killed, opened here`, async () => {
        const directory = killed.get(each)!;
        expect(inspected(directory)).toMatchObject(soundReport(each, false));
        const driven = await Driven.open(commitlog, directory, each.settings);
        expect(driven.engine.recovery.wasCleanShutdown).toBe(false);
        await expectReadHere(driven, each.messages);
        await expectFoundByKeyHere(driven, each.messages);
        await appendHere(driven, each.messages);
        await expectFoundByKeyHere(driven, [...each.messages, ...each.messages]);
        await driven.engine.close();
        await open(directory, each.settings);
        await expectRocketmqReads(directory, each, [...each.messages, ...each.messages]);
        await expectFoundByKey(directory, [...each.messages, ...each.messages]);
      });

    test("and closed again by RocketMQ", closeAll);
  });

  describe("a store that a crash has damaged is recovered to what RocketMQ recovers", () => {
    const damages: Record<string, (directory: string) => void> = {
      "not at all": () => {},
      "in the middle of the last message": (directory) => {
        const last = lastRecord(directory);
        change(last.path, (bytes) => bytes.fill(0, last.at + 60, last.at + last.sizeBytes));
      },
      "by a changed bit in the last message's body": (directory) => {
        const last = lastRecord(directory);
        change(last.path, (bytes) => bytes.writeUInt8(bytes.readUInt8(last.at + 90) ^ 1, last.at + 90));
      },
      "with noise after the last message": (directory) => {
        const last = lastRecord(directory);
        change(last.path, (bytes) => noise(1, 200).copy(bytes, last.at + last.sizeBytes));
      },
      "with files of zeros at the end": (directory) => {
        const { path } = lastRecord(directory);
        for (const k of [1, 2]) {
          const name = String(Number(basename(path)) + k * 16_384).padStart(20, "0");
          writeFileSync(join(directory, "commitlog", name), Buffer.alloc(16_384));
        }
      },
      "without its checkpoint": (directory) => rmSync(join(directory, "checkpoint"), { force: true }),
      "without its queues": (directory) => rmSync(join(directory, "consumequeue"), { recursive: true }),
      "with a queue lost": (directory) => rmSync(join(directory, "consumequeue", "a", "0"), { recursive: true }),
      "with a queue that lags": (directory) => {
        const queue = join(directory, "consumequeue", "b", "1");
        for (const [i, name] of readdirSync(queue).sort().entries()) {
          if (i === 1) change(join(queue, name), (bytes) => bytes.fill(0, 600));
          if (i > 1) rmSync(join(queue, name));
        }
      },
      "with a queue ahead of the log": (directory) => {
        const queue = join(directory, "consumequeue", "a", "1");
        const last = join(queue, readdirSync(queue).sort().at(-1)!);
        const { path, at, sizeBytes } = lastRecord(directory);
        change(last, (bytes) => {
          const end = bytes.findLastIndex((byte) => byte !== 0) + 20;
          const unit = end - (end % 20);
          bytes.writeBigInt64BE(BigInt(Number(basename(path)) + at + sizeBytes), unit);
          bytes.writeInt32BE(100, unit + 8);
        });
      },
    };

    for (const [name, damage] of Object.entries(damages)) {
      test(name, async () => {
        // Its queues complete, as after RocketMQ's own flushes: there is more to damage than in a directory killed here.
        const { closed } = await writeHere(several);
        writeFileSync(join(closed, "abort"), "1");
        damage(closed);
        const copy = newDirectory();
        cpSync(closed, copy, { recursive: true });
        await open(closed, several.settings);
        const byRocketmq = await readByRocketmq(closed);
        await expectSameHere(copy, byRocketmq);
        await open(copy, several.settings);
        expect(await readByRocketmq(copy)).toEqual(byRocketmq);
      });
    }
  });

  test("a log that has lost a file, and the end of another, is mended here so that RocketMQ reads the rest and goes on", async () => {
    const { closed } = await writeHere(several);
    const names = readdirSync(join(closed, "commitlog")).sort();
    expect(names.length).toBeGreaterThan(5);
    rmSync(join(closed, "commitlog", names[2]!));
    truncateSync(join(closed, "commitlog", names[4]!), 5_000);
    const driven = await Driven.open(commitlog, closed, several.settings);
    const left = new Map<string, ReadMessage[]>();
    for (const { handle, topic, index, endOffset } of driven.engine.partitions()) {
      if (endOffset > 0) left.set(nameOf({ topic, queueId: index }), await driven.readSound(handle));
    }
    await driven.engine.close();
    const readCount = [...left.values()].reduce((sum, read) => sum + read.length, 0);
    expect(readCount).toBeGreaterThan(several.messages.length / 2);
    expect(readCount).toBeLessThan(several.messages.length);

    expect(await open(closed, several.settings)).toMatchObject({ wasClean: true });
    for (const queue of await readByRocketmq(closed)) {
      expect(queue.messages.map(comparableOfRocketmq)).toEqual(left.get(nameOf(queue))!.map(comparable));
    }
    await putByRocketmq(peer, closed, several, several.messages.slice(0, 20));
    const total = (queues: readonly RocketmqQueue[]) => queues.reduce((sum, { messages }) => sum + messages.length, 0);
    expect(total(await readByRocketmq(closed))).toBe(readCount + 20);
  });

  test("a log whose first files were deleted begins where RocketMQ says", async () => {
    const directory = newDirectory();
    await open(directory, several.settings);
    await putByRocketmq(peer, directory, several, several.messages);
    await closeAll();
    for (const name of readdirSync(join(directory, "commitlog")).sort().slice(0, 2)) {
      rmSync(join(directory, "commitlog", name));
    }
    expect(inspected(directory)).toMatchObject({ closedCleanly: true, damage: [] });
    const copy = newDirectory();
    cpSync(directory, copy, { recursive: true });
    await open(directory, several.settings);
    const byRocketmq = await readByRocketmq(directory);
    expect(byRocketmq.every(({ minOffset }) => minOffset > 0)).toBe(true);
    await expectSameHere(copy, byRocketmq);
    await open(copy, several.settings);
    expect(await readByRocketmq(copy)).toEqual(byRocketmq);
  });

  test("what only RocketMQ writes is read: batches, user flags, compressed bodies, transactions", async () => {
    const directory = newDirectory();
    const settings = { segmentSizeBytes: 8_192 };
    await open(directory, settings);
    const elements = Array.from({ length: 10 }, (_, i) =>
      to("batch", 0, { value: noise(i, 50), key: Buffer.from(`b${i}`) }),
    );
    const sent = await peer.request<Put>("putBatch", {
      directory,
      messages: elements.map((each) => asRequest(each, {})),
    });
    expect(sent.status).toBe("PUT_OK");
    const odd = [
      { flag: 7, sysFlag: 0, reconsumeTimes: 3 },
      { flag: -1, sysFlag: 0, reconsumeTimes: 0, compression: "zlib" },
      { flag: 0, sysFlag: 0x4, reconsumeTimes: 0 }, // a prepared message is in no queue
      { flag: 0, sysFlag: 0x8, reconsumeTimes: 0, preparedTransactionOffset: 100 },
      { flag: 0, sysFlag: 0xc, reconsumeTimes: 0, preparedTransactionOffset: 100 }, // nor is a rollback
      { flag: 0, sysFlag: 0, reconsumeTimes: 0 },
    ].map((fields, i) => ({ ...asRequest(to("odd", 0, { at: i, value: Buffer.from(`${i}`) }), {}), ...fields }));
    for (const put of await peer.request<Put[]>("put", { directory, messages: odd })) expect(put.status).toBe("PUT_OK");
    expect(inspected(directory)).toMatchObject({ inUse: true, damage: [] });
    await closeAll();
    const codecs = { none: 15, zlib: 1 };
    expect(inspected(directory)).toMatchObject({ closedCleanly: true, damage: [], messageCount: 16, codecs });

    const driven = await Driven.open(commitlog, directory, settings);
    expect(driven.engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
    const values = async (topic: string) =>
      (await driven.read(driven.handle(topic, 0))).map((read) => toHex(read.value));
    expect(await values("batch")).toEqual(elements.map((each) => toHex(each.value)));
    expect(await values("odd")).toEqual(["30", "31", "33", "35"]);
    driven.append(driven.handle("odd", 0), [message({ value: Buffer.from("6") })], 1);
    await driven.engine.close();

    await open(directory, settings);
    const queues = await peer.request<RocketmqQueue[]>("read", { directory });
    expect(
      queues.find(({ topic }) => topic === "odd")!.messages.map(({ queueOffset, body }) => [queueOffset, body]),
    ).toEqual(["30", "31", "33", "35", "36"].map((body, queueOffset) => [queueOffset, body]));
  });

  test("a directory that one holds is refused by the other", async () => {
    const directory = newDirectory();
    await open(directory, {});
    await expect(Driven.open(commitlog, directory, {})).rejects.toThrow();
    const held = newDirectory();
    const driven = await Driven.open(commitlog, held, {});
    await expect(open(held, {})).rejects.toThrow(/lock/i);
    await driven.engine.close();
  });

  /** Two directories of the same messages: one closed, one as a kill would leave it. */
  async function writeHere(each: Case): Promise<{ closed: string; killed: string }> {
    const [closed, killed] = [newDirectory(), newDirectory()];
    const driven = await Driven.open(commitlog, closed, each.settings);
    for (const topic of new Set(each.messages.map(({ topic }) => topic))) {
      const queueIds = each.messages.filter((message) => message.topic === topic).map(({ queueId }) => queueId);
      await driven.engine.createTopic(topic, Math.max(...queueIds) + 1);
    }
    await appendHere(driven, each.messages);
    cpSync(closed, killed, { recursive: true });
    await driven.engine.close();
    return { closed, killed };
  }

  async function putByRocketmq(writer: Peer, directory: string, each: Case, messages: readonly QueueMessage[]) {
    const puts = await writer.request<Put[]>("put", {
      directory,
      messages: messages.map((message) => asRequest(message, each.settings)),
    });
    expect(puts.map(({ status }) => status).filter((status) => status !== "PUT_OK")).toEqual([]);
  }

  async function readByRocketmq(directory: string): Promise<RocketmqQueue[]> {
    const queues = await peer.request<RocketmqQueue[]>("read", { directory });
    return queues.filter(({ maxOffset }) => maxOffset > 0);
  }

  /** Opened and closed here, the directory holds the same queues and messages. */
  async function expectSameHere(directory: string, queues: readonly RocketmqQueue[]): Promise<void> {
    const driven = await Driven.open(commitlog, directory, several.settings);
    for (const queue of queues) {
      const handle = driven.handle(queue.topic, queue.queueId);
      const { startOffset, endOffset } = driven.engine.partitionInfo(handle);
      expect([nameOf(queue), startOffset, endOffset]).toEqual([nameOf(queue), queue.minOffset, queue.maxOffset]);
      expect((await driven.read(handle)).map(comparable)).toEqual(queue.messages.map(comparableOfRocketmq));
    }
    await driven.engine.close();
  }

  async function open(directory: string, settings: Case["settings"]): Promise<{ wasClean: boolean }> {
    const opened = await peer.request<{ wasClean: boolean }>("open", { directory, config: rocketmqConfig(settings) });
    openedByPeer.push(directory);
    return opened;
  }

  async function closeAll(): Promise<void> {
    await peer.request("close", { directories: openedByPeer.splice(0) });
  }

  async function expectRocketmqReads(directory: string, each: Case, messages: readonly QueueMessage[]): Promise<void> {
    const queues = (await peer.request<RocketmqQueue[]>("read", { directory })).filter(
      ({ maxOffset }) => maxOffset > 0,
    );
    const expected = byQueue(messages);
    expect(queues.map(nameOf).sort()).toEqual([...expected.keys()].sort());
    for (const queue of queues) {
      const wanted = expected.get(nameOf(queue))!;
      expect(queue).toMatchObject({ minOffset: 0, maxOffset: wanted.length });
      expect(queue.messages.map(comparableOfRocketmq)).toEqual(
        wanted.map((message, queueOffset) => comparable({ ...message, offset: queueOffset })),
      );
      for (const { bornHost, storeHost } of queue.messages) {
        expect(bornHost).toBe(hostAsJava(each.settings.bornHost ?? "127.0.0.1:0"));
        expect(storeHost).toBe(hostAsJava(each.settings.storeHost ?? "127.0.0.1:10911"));
      }
      await expectFoundByTime(directory, queue);
    }
    await expectFoundByTags(directory, expected);
  }

  async function expectFoundByTime(directory: string, { topic, queueId, messages }: RocketmqQueue): Promise<void> {
    const stored = messages.map(({ storeTimestampMs }) => storeTimestampMs);
    expect(stored).toEqual([...stored].sort((a, b) => a - b));
    const timestampsMs = [stored[0]!, stored[stored.length >> 1]!, stored.at(-1)!];
    const lookup = (bound: string) => peer.request("lookup", { directory, topic, queueId, timestampsMs, bound });
    expect(await lookup("LOWER")).toEqual(timestampsMs.map((ms) => stored.findIndex((each) => each >= ms)));
    expect(await lookup("UPPER")).toEqual(timestampsMs.map((ms) => stored.findLastIndex((each) => each <= ms)));
  }

  async function expectFoundByKey(directory: string, messages: readonly QueueMessage[]): Promise<void> {
    for (const [queue, inQueue] of byQueue(messages)) {
      const words = new Map<string, number[]>();
      for (const [queueOffset, { key }] of inQueue.entries()) {
        for (const word of key?.toString().split(" ") ?? []) words.set(word, [...(words.get(word) ?? []), queueOffset]);
      }
      for (const [key, queueOffsets] of [...words].slice(0, 10)) {
        const { topic } = inQueue[0]!;
        const found = await peer.request<{ queueId: number; queueOffset: number }[]>("query", {
          directory,
          topic,
          key,
        });
        const here = found
          .filter(({ queueId }) => `${topic}-${queueId}` === queue)
          .map(({ queueOffset }) => queueOffset);
        expect([queue, key, here.sort((a, b) => a - b)]).toEqual([queue, key, queueOffsets]);
      }
    }
  }

  async function expectFoundByTags(directory: string, expected: Map<string, QueueMessage[]>): Promise<void> {
    const tagged = expected.get("tags-0");
    if (tagged === undefined) return;
    for (const tags of ["delivered", "lost || größer €", "*"]) {
      const queues = await peer.request<RocketmqQueue[]>("read", { directory, tags });
      const wanted = tagged.filter((message) => tags === "*" || tags.split(" || ").includes(tagOf(message)));
      const queue = queues.find((each) => nameOf(each) === "tags-0")!;
      expect(queue.messages.map(({ properties }) => properties.TAGS ?? "")).toEqual(wanted.map(tagOf));
    }
  }
});

/** What `npm run inspect` has to say of a directory that holds a case's messages. */
function soundReport({ messages }: Case, closedCleanly: boolean) {
  return { damage: [], inUse: false, closedCleanly, messageCount: messages.length };
}

/** Queue offsets by topic and key, in the order of the log. */
function byKey(messages: readonly QueueMessage[]): Map<string, { topic: string; key: string; offsets: number[] }> {
  const found = new Map<string, { topic: string; key: string; offsets: number[] }>();
  const ends = new Map<string, number>();
  for (const message of messages) {
    const { topic } = message;
    const offset = ends.get(nameOf(message)) ?? 0;
    ends.set(nameOf(message), offset + 1);
    for (const key of new Set(message.key?.toString().split(" ") ?? [])) {
      const entry = found.get(`${topic}#${key}`) ?? { topic, key, offsets: [] };
      entry.offsets.push(offset);
      found.set(`${topic}#${key}`, entry);
    }
  }
  return found;
}

async function expectFoundByKeyHere(driven: Driven, messages: readonly QueueMessage[]): Promise<void> {
  const everything = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: 1_000 };
  for (const { topic, key, offsets } of byKey(messages).values()) {
    const found: number[] = [];
    await driven.engine.messagesByKey!(topic, key, everything, ({ offset, key: stored }) => {
      expect(Buffer.from(stored!).toString().split(" ")).toContain(key);
      found.push(offset);
    });
    expect([topic, key, found]).toEqual([topic, key, offsets.toReversed()]);
  }
}

async function appendHere(driven: Driven, messages: readonly QueueMessage[]): Promise<void> {
  for (const message of messages) driven.append(driven.handle(message.topic, message.queueId), [message], 1);
  await driven.flush();
}

async function expectReadHere(driven: Driven, messages: readonly QueueMessage[]): Promise<void> {
  const expected = byQueue(messages);
  for (const { topic, index, endOffset } of driven.engine.partitions()) {
    if (!expected.has(`${topic}-${index}`)) expect(endOffset).toBe(0);
  }
  for (const [name, wanted] of expected) {
    const handle = driven.handle(wanted[0]!.topic, wanted[0]!.queueId);
    expect([name, driven.engine.partitionInfo(handle)]).toMatchObject([
      name,
      { startOffset: 0, endOffset: wanted.length },
    ]);
    expect((await driven.read(handle)).map(comparable)).toEqual(
      wanted.map((message, offset) => comparable({ ...message, offset })),
    );
    for (let offset = 0; offset < wanted.length; offset += 17) expect(await driven.readAt(handle, offset)).toBe(offset);
  }
}

function to(topic: string, queueId: number, fields: Partial<InteropMessage> & { at?: number }): QueueMessage {
  return { topic, queueId, ...message(fields) };
}

/** Of sizes around the threshold and beyond a block of any codec, some of which no codec shrinks. */
function compressed(): QueueMessage[] {
  return [99, 100, 5_000, 300_000].flatMap((sizeBytes, i) => [
    to("compressed", 0, { at: i, value: noise(i, sizeBytes), key: Buffer.from(`k${i}`) }),
    to("compressed", 1, { at: i, value: Buffer.alloc(sizeBytes, "text "), headers: [["TAGS", Buffer.from("grün")]] }),
  ]);
}

/** Pairs of messages: the second fills its file to the last byte, then misses it by one, or leaves one byte. */
function fitting(fileSizeBytes: number): QueueMessage[] {
  const overheadBytes = FIXED_SIZE_BYTES + "fit".length;
  const restBytes = fileSizeBytes - BLANK_SIZE_BYTES - 1_000;
  return [0, 1, -1, 0, 1].flatMap((excess, i) => [
    to("fit", 0, { at: 2 * i, value: noise(i, 1_000 - overheadBytes) }),
    to("fit", 0, { at: 2 * i + 1, value: noise(i, restBytes - overheadBytes + excess) }),
    // What missed stands alone in the next file: fill that one too, so that the next pair begins a file.
    ...(excess === 1 ? [to("fit", 0, { at: 2 * i + 1, value: noise(i, 1_000 - overheadBytes - 1) })] : []),
  ]);
}

function byQueue(messages: readonly QueueMessage[]): Map<string, QueueMessage[]> {
  const queues = new Map<string, QueueMessage[]>();
  for (const message of messages) {
    const name = `${message.topic}-${message.queueId}`;
    queues.set(name, [...(queues.get(name) ?? []), message]);
  }
  return queues;
}

interface Comparable {
  offset: number;
  timestampMs: number;
  value: string | null;
  properties: Record<string, string>;
}

function comparable({ offset, timestampMs, key, value, headers }: ReadMessage): Comparable {
  const properties: Record<string, string> = {};
  if (key !== null) properties.KEYS = key.toString();
  for (const [name, content] of headers) properties[name] = content!.toString();
  return { offset, timestampMs, value: toHex(value), properties };
}

function comparableOfRocketmq({ queueOffset, bornTimestampMs, body, properties }: RocketmqMessage): Comparable {
  const { __CRC32, ...rest } = Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [name === "__CRC32#" ? "__CRC32" : name, value]),
  );
  return { offset: queueOffset, timestampMs: bornTimestampMs, value: body, properties: rest };
}

function asRequest(message: QueueMessage, settings: Case["settings"]): Record<string, unknown> {
  const { topic, queueId, timestampMs, key, value, headers } = message;
  const pairs = [...(key === null ? [] : [["KEYS", key] as const]), ...headers];
  return {
    topic,
    queueId,
    bornTimestampMs: timestampMs,
    bornHost: settings.bornHost ?? "127.0.0.1:0",
    storeHost: settings.storeHost ?? "127.0.0.1:10911",
    body: toHex(value),
    compression: settings.compression,
    properties: Buffer.from(pairs.map(([name, content]) => `${name}\x01${content!}\x02`).join("")).toString("hex"),
  };
}

function tagOf(message: QueueMessage): string {
  return message.headers.find(([name]) => name === "TAGS")?.[1]?.toString() ?? "";
}

function nameOf({ topic, queueId }: { topic: string; queueId: number }): string {
  return `${topic}-${queueId}`;
}

/** Java writes all eight groups of an IPv6 address. */
function hostAsJava(host: unknown): unknown {
  return (
    { "[2001:db8::1]:50000": "2001:db8:0:0:0:0:0:1:50000", "[::1]:10911": "0:0:0:0:0:0:0:1:10911" }[String(host)] ??
    host
  );
}

/** Commitlog and queues by path, store timestamps blanked out, files that hold nothing left out. */
function contents(directory: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const part of ["commitlog", "consumequeue"]) {
    for (const entry of readdirSync(join(directory, part), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const bytes = readFileSync(path);
      if (part === "commitlog") blankStoreTimestamps(bytes);
      if (bytes.some((byte) => byte !== 0)) {
        files[path.slice(directory.length + 1)] = createHash("sha256").update(bytes).digest("hex");
      }
    }
  }
  return files;
}

/**
 * The key index's files in their order, store times blanked out: of the header, and the seconds of items. RocketMQ makes
 * the first file with the first message, keys or not, so what holds nothing is left out.
 */
function indexContents(directory: string): string[] {
  const itemsAt = 40 + 4 * SMALL_INDEX.keyIndexSlots;
  return readdirSync(join(directory, "index"))
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(directory, "index", name));
      bytes.fill(0, 0, 16);
      for (let at = itemsAt; at < bytes.length; at += 20) bytes.fill(0, at + 12, at + 16);
      return bytes.toString("hex");
    })
    .filter((bytes) => !/^0*$/.test(bytes));
}

function blankStoreTimestamps(file: Buffer): void {
  for (const { at } of records(file)) {
    const bornHostIsV6 = (file.readInt32BE(at + 36) & 0x10) !== 0;
    file.fill(0, at + (bornHostIsV6 ? 68 : 56), at + (bornHostIsV6 ? 76 : 64));
  }
}

/** Where the messages of a commitlog file lie, up to its blank or its end. */
function* records(file: Buffer): Generator<{ at: number; sizeBytes: number }> {
  for (let at = 0; at + BLANK_SIZE_BYTES <= file.length; ) {
    const sizeBytes = file.readInt32BE(at);
    const isMessage = file.readUInt16BE(at + 4) === 0xdaa3;
    if (!isMessage || sizeBytes <= 0) return;
    yield { at, sizeBytes };
    at += sizeBytes;
  }
}

function lastRecord(directory: string): { path: string; at: number; sizeBytes: number } {
  let last: { path: string; at: number; sizeBytes: number } | undefined;
  for (const name of readdirSync(join(directory, "commitlog")).sort()) {
    const path = join(directory, "commitlog", name);
    for (const record of records(readFileSync(path))) last = { path, ...record };
  }
  return last!;
}

function change(path: string, edit: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  edit(bytes);
  writeFileSync(path, bytes);
}

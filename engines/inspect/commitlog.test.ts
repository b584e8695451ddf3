import { cpSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeMessage, encodeProperties } from "../codec/commitlog-message.js";
import type { BatchLine, DamageKind } from "./report.js";
import {
  change,
  damageOf,
  flip,
  look,
  MESSAGES_PER_PARTITION,
  openCommitlog,
  Workspace,
  writeCommitlog,
} from "./testing.js";

const FILE_SIZE_BYTES = 16_384;
const UNIT_SIZE_BYTES = 20;
/** Where a record's body begins, IPv4 hosts. */
const BODY_AT = 88;
const FIRST = "commitlog/00000000000000000000";
const QUEUE = "consumequeue/orders/0/00000000000000000000";
const LAST_QUEUE = "consumequeue/orders/0/00000000000000000800";

const workspace = new Workspace();
const sound = workspace.path();
let records: readonly BatchLine[];
let logFiles: string[];

beforeAll(async () => {
  await (await writeCommitlog(sound)).close();
  records = look(sound).batches;
  logFiles = readdirSync(join(sound, "commitlog")).sort();
});
afterAll(() => workspace.remove());

/** The nth record of the log's first file. */
function record(n: number): BatchLine {
  return records.filter(({ file }) => file === FIRST)[n]!;
}

function lastRecord(): BatchLine {
  return records.at(-1)!;
}

interface Case {
  readonly name: string;
  plant(directory: string): void;
  readonly kind: DamageKind;
  readonly file: string | (() => string);
  position(): number;
  readonly what: RegExp;
  /** Kinds of what follows from it in other files. */
  readonly follows?: readonly DamageKind[];
}

const CASES: readonly Case[] = [
  {
    name: "a bit flipped in a body",
    plant: (directory) => change(join(directory, FIRST), (b) => flip(b, record(3).positionBytes + BODY_AT + 9, 2)),
    ...{ kind: "checksum", file: FIRST, position: () => record(3).positionBytes },
    what: /^a body that does not match its CRC; the next sound message stands \d+ bytes on, at byte \d+ of the log\.$/,
  },
  {
    name: "zeros where a message was",
    plant: (directory) =>
      change(join(directory, FIRST), (b) => {
        const { positionBytes, sizeBytes } = record(3);
        b.fill(0, positionBytes, positionBytes + sizeBytes);
        return undefined;
      }),
    ...{ kind: "format", file: FIRST, position: () => record(3).positionBytes },
    what: /^zeros where a message belongs; the next sound message stands/,
  },
  {
    name: "a magic that is none",
    plant: (directory) => change(join(directory, FIRST), (b) => flip(b, record(4).positionBytes + 5, 1)),
    ...{ kind: "format", file: FIRST, position: () => record(4).positionBytes },
    what: /^bytes without a message's magic; the next/,
  },
  {
    name: "a message of another position",
    plant: (directory) => change(join(directory, FIRST), (b) => flip(b, record(4).positionBytes + 35, 1)),
    ...{ kind: "format", file: FIRST, position: () => record(4).positionBytes },
    what: /^a message that names another position as its own; the next/,
  },
  {
    name: "a queue offset that skips one",
    plant: (directory) =>
      change(join(directory, FIRST), (b) => void b.writeBigInt64BE(5n, record(4).positionBytes + 20)),
    ...{ kind: "gap", file: FIRST, position: () => record(4).positionBytes },
    what: /^message 5 of queue 0 of orders where message 4 belongs: 1 message missing\.$/,
    follows: ["target"],
  },
  {
    name: "a queue offset that was there before",
    plant: (directory) =>
      change(join(directory, FIRST), (b) => void b.writeBigInt64BE(2n, record(4).positionBytes + 20)),
    ...{ kind: "overlap", file: FIRST, position: () => record(4).positionBytes },
    what: /^message 2 of queue 0 of orders where message 4 belongs\.$/,
    follows: ["target"],
  },
  {
    name: "a last message written in part",
    plant: (directory) =>
      change(join(directory, lastRecord().file), (b) => {
        const { positionBytes, sizeBytes } = lastRecord();
        b.fill(0, positionBytes + 100, positionBytes + sizeBytes);
        return undefined;
      }),
    ...{ kind: "torn-tail", file: () => lastRecord().file, position: () => lastRecord().positionBytes },
    what: /^a topic longer than its message; no sound message follows, so that the log ends here/,
    follows: ["target", "lag"],
  },
  {
    name: "bytes behind the last message",
    plant: (directory) => change(join(directory, lastRecord().file), (b) => void b.write("hello", logEnd() + 40)),
    ...{ kind: "torn-tail", file: () => lastRecord().file, position: () => logEnd() },
    what: /^bytes without a message's magic; no sound message follows, so that the log ends here and 45 bytes are cut/,
  },
  {
    name: "a commitlog file that is too short",
    plant: (directory) => truncateSync(join(directory, FIRST), FILE_SIZE_BYTES - 1_000),
    ...{ kind: "size", file: FIRST, position: () => FILE_SIZE_BYTES - 1_000 },
    what: /^it is 15384 bytes long, and the others are 16384\.$/,
  },
  {
    name: "a commitlog file that is gone",
    plant: (directory) => rmSync(join(directory, "commitlog", logFiles[1]!)),
    ...{ kind: "gap", file: () => `commitlog/${logFiles[2]}`, position: () => 0 },
    what: /^it begins at byte 32768 by its name, and the file before it ends at 16384\.$/,
    follows: ["target"],
  },
  {
    name: "a last file that was never filled",
    plant: (directory) => writeFileSync(join(directory, "commitlog", "00000000000000999424"), ""),
    ...{ kind: "leftover", file: "commitlog/00000000000000999424", position: () => 0 },
    what: /^it is empty: a crash came while it was made/,
  },
  {
    name: "a unit that points elsewhere",
    plant: (directory) => change(join(directory, QUEUE), (b) => void b.writeBigInt64BE(b.readBigInt64BE(60) + 1n, 60)),
    ...{ kind: "target", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 names byte \d+ of the log, where there is no message but /,
  },
  {
    name: "a unit of another message",
    plant: (directory) =>
      change(join(directory, QUEUE), (b) => {
        b.copyWithin(60, 80, 100);
        return undefined;
      }),
    ...{ kind: "target", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 names byte \d+ of the log, where message 4 of queue 0 of orders stands\.$/,
  },
  {
    name: "a unit that goes back",
    plant: (directory) =>
      change(join(directory, QUEUE), (b) => {
        b.copyWithin(60, 20, 40);
        return undefined;
      }),
    ...{ kind: "order", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 names byte \d+ of the log, which does not follow byte \d+\.$/,
  },
  {
    name: "a unit behind the log",
    plant: (directory) => change(join(directory, QUEUE), (b) => void b.writeBigInt64BE(10_000_000n, 60)),
    ...{ kind: "target", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 names byte 10000000 of the log, which ends at byte \d+\.$/,
  },
  {
    name: "a unit of another size",
    plant: (directory) => change(join(directory, QUEUE), (b) => flip(b, 60 + 11, 1)),
    ...{ kind: "size", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 names \d+ bytes for a message of \d+\.$/,
  },
  {
    name: "a unit of other tags",
    plant: (directory) => change(join(directory, QUEUE), (b) => flip(b, 60 + 19, 1)),
    ...{ kind: "target", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 has the tags code -?\d+ for a message whose tags make -?\d+\.$/,
  },
  {
    name: "a unit that was never written",
    plant: (directory) =>
      change(join(directory, QUEUE), (b) => {
        b.fill(0, 60, 80);
        return undefined;
      }),
    ...{ kind: "gap", file: QUEUE, position: () => 60 },
    what: /^the unit of message 3 was never written, and bytes up to \d+ behind it were\.$/,
  },
  {
    name: "a queue that lags behind the log",
    plant: (directory) =>
      change(join(directory, LAST_QUEUE), (b) => {
        b.fill(0, 18 * UNIT_SIZE_BYTES);
        return undefined;
      }),
    ...{ kind: "lag", file: LAST_QUEUE, position: () => 18 * UNIT_SIZE_BYTES },
    what: /^the unit of message 58 is missing, and so are all up to the log's last, 59\.$/,
  },
  {
    name: "a queue that is gone",
    plant: (directory) => rmSync(join(directory, "consumequeue/orders/0"), { recursive: true }),
    ...{ kind: "lag", file: "consumequeue/orders/0", position: () => 0 },
    what: /^the unit of message 0 is missing/,
  },
  {
    name: "a queue whose first file is gone",
    plant: (directory) => rmSync(join(directory, QUEUE)),
    ...{ kind: "lag", file: LAST_QUEUE, position: () => 0 },
    what: /^its units begin with message 40, and the log holds message 0\.$/,
  },
  {
    name: "a queue's file that is too short",
    plant: (directory) => truncateSync(join(directory, QUEUE), 790),
    ...{ kind: "size", file: QUEUE, position: () => 780 },
    what: /^it ends with 10 bytes that are no whole unit of 20\.$/,
  },
  {
    name: "a checkpoint that is too short",
    plant: (directory) => truncateSync(join(directory, "checkpoint"), 10),
    ...{ kind: "size", file: "checkpoint", position: () => 10 },
    what: /^it is 10 bytes long, and its fields take 40\.$/,
  },
  {
    name: "a checkpoint of nonsense",
    plant: (directory) => change(join(directory, "checkpoint"), (b) => void b.fill(0xff, 0, 8)),
    ...{ kind: "format", file: "checkpoint", position: () => 0 },
    what: /^it holds times that cannot be\.$/,
  },
  {
    name: "a clean-shutdown state beyond the log",
    plant: (directory) => {
      const state = { formatVersion: 1, logEndOffset: 900_000, storeTimestampMs: 1, queues: [] };
      writeFileSync(join(directory, "clean-shutdown.json"), JSON.stringify(state));
    },
    ...{ kind: "lag", file: "clean-shutdown.json", position: () => 0 },
    what: /^by it the log ended at byte 900000, and it ends at \d+ now: messages are missing\.$/,
  },
  {
    name: "a clean-shutdown state of nonsense",
    plant: (directory) => writeFileSync(join(directory, "clean-shutdown.json"), '{"formatVersion":1,'),
    ...{ kind: "format", file: "clean-shutdown.json", position: () => 0 },
    what: /^it is not what a clean shutdown/,
  },
  {
    name: "a file that was not finished",
    plant: (directory) => writeFileSync(join(directory, "clean-shutdown.json.tmp"), "{"),
    ...{ kind: "leftover", file: "clean-shutdown.json.tmp", position: () => 0 },
    what: /^it was not finished; nothing reads it\.$/,
  },
];

/** Position in the last file behind the last message. */
function logEnd(): number {
  return lastRecord().positionBytes + lastRecord().sizeBytes;
}

describe("a commitlog store", () => {
  it("is told whole: topics, queues, files, messages, times, codecs", () => {
    const { report } = look(sound);
    expect(report).toMatchObject({
      ...{ formatVersion: 1, layout: "commitlog", scope: "directory", inUse: false, closedCleanly: true },
      ...{ topicCount: 2, damage: [], notes: [] },
      log: { batchCount: null, messageCount: 240, codecs: { none: 240 } },
    });
    expect(
      report.partitions.map(({ topic, index, log }) => [`${topic}-${index}`, log.startOffset, log.endOffset]),
    ).toEqual(["orders-0", "orders-1", "pay-ments-0", "pay-ments-1"].map((name) => [name, 0, MESSAGES_PER_PARTITION]));
    const units = report.partitions[0]!.files.map(({ entryCount }) => entryCount);
    expect(units).toEqual([40, 20]);
    expect(report.files.filter(({ kind }) => kind === "commitlog-file").length).toBe(logFiles.length);
    expect(logFiles.length).toBeGreaterThan(3);
    expect(records.length).toBe(240);
  });

  for (const { name, plant, kind, file, position, what, follows = [] } of CASES)
    it(`names file and position of ${name}`, () => {
      const directory = workspace.path();
      cpSync(sound, directory, { recursive: true });
      const path = typeof file === "string" ? file : file();
      plant(directory);
      const found = damageOf(directory);
      expect(found).toContainEqual({ kind, file: path, positionBytes: position(), what: expect.stringMatching(what) });
      const others = found.filter((each) => each.file !== path);
      for (const each of others) expect(follows).toContain(each.kind);
      rmSync(directory, { recursive: true });
    });

  it("takes a lagging queue for what a crash leaves where the store was not closed", () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    writeFileSync(join(directory, "abort"), "1");
    change(join(directory, LAST_QUEUE), (b) => void b.fill(0, 18 * UNIT_SIZE_BYTES));
    const { report } = look(directory);
    expect(report).toMatchObject({ closedCleanly: false, damage: [] });
    expect(report.partitions[0]!.files.at(-1)!.notes).toEqual([
      "It lags behind the log by 2 units, which opening the directory writes.",
    ]);
  });

  it("needs no queues", () => {
    const directory = workspace.path();
    cpSync(join(sound, "commitlog"), join(directory, "commitlog"), { recursive: true });
    const { report } = look(directory);
    expect(report).toMatchObject({ damage: [], log: { messageCount: 240 } });
    expect(report.notes).toEqual([
      "There is no consumequeue; opening the directory makes all queues again from the log.",
    ]);
  });

  it("can be one queue, or one file, held against the log", () => {
    expect(look(join(sound, "consumequeue/orders/1")).report).toMatchObject({
      ...{ scope: "partition", damage: [], inUse: false },
      log: { startOffset: 0, endOffset: 60 },
    });
    expect(look(join(sound, QUEUE)).report).toMatchObject({ scope: "file", damage: [], notes: [] });
    expect(look(join(sound, "commitlog", logFiles[1]!)).report).toMatchObject({ scope: "file", damage: [] });
    const moved = workspace.path();
    mkdirSync(moved);
    for (const path of [FIRST, QUEUE]) {
      cpSync(join(sound, path), join(moved, "00000000000000000000"));
      expect(look(join(moved, "00000000000000000000")).report).toMatchObject({ layout: "commitlog", damage: [] });
    }
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    change(join(directory, QUEUE), (b) => flip(b, 60 + 11, 1));
    expect(damageOf(join(directory, QUEUE))).toMatchObject([{ file: "00000000000000000000", positionBytes: 60 }]);
  });

  it("sees rot inside compressed bodies whose CRC is right", () => {
    const body = deflateSync(Buffer.alloc(500, "body"));
    const directory = workspace.path();
    writeStore(directory, [
      { body, sysFlag: 0x301 },
      { body: Buffer.from(body).fill(7, 6, 9), sysFlag: 0x301 },
    ]);
    const { report, batches } = look(directory);
    expect(report.damage).toEqual([
      {
        ...{ kind: "records", file: FIRST, positionBytes: batches[1]!.positionBytes },
        what: expect.stringMatching(
          /^a message whose body cannot be decompressed, under a CRC that is right: a zlib payload/,
        ),
      },
    ]);
    expect(report.log.codecs).toEqual({ zlib: 2 });
  });

  it("looks at the form of messages written without checksums, compressed ones too", async () => {
    const directory = workspace.path();
    const settings = { checksum: false, compression: "lz4", compressionThresholdBytes: 90 };
    await (await writeCommitlog(directory, settings)).close();
    const { report, batches } = look(directory);
    expect(report).toMatchObject({ damage: [], log: { messageCount: 240, codecs: { lz4: 240 } } });
    expect(report.files[0]!.notes).toEqual([
      expect.stringMatching(/^From byte 0 on, \d+ messages written without checksums: /),
    ]);
    const { file, positionBytes } = batches[3]!;
    change(join(directory, file), (bytes) => flip(bytes, positionBytes + 35, 1)); // the position that it names
    expect(damageOf(directory)).toEqual([
      {
        ...{ kind: "format", file, positionBytes },
        what: expect.stringMatching(/^a message that names another position as its own; the next sound message stands/),
      },
    ]);
  });

  it("of mixed checks finds damage in those that have one", async () => {
    const directory = workspace.path();
    cpSync(sound, directory, { recursive: true });
    change(join(directory, FIRST), (bytes) => {
      bytes.writeInt32BE(0, record(2).positionBytes + 8); // no checksum
      return flip(bytes, record(5).positionBytes + BODY_AT + 9, 2);
    });
    const { report } = look(directory);
    expect(report.damage).toMatchObject([{ kind: "checksum", positionBytes: record(5).positionBytes }]);
    expect(report.files[0]!.notes).toEqual([
      expect.stringContaining(`From byte ${record(2).positionBytes} on, 1 message written without checksums`),
    ]);
  });

  describe("a key index", () => {
    const ITEMS_AT = 40 + 4 * 100;

    /** The golden message and its two keys, at the items and slots that RocketMQ's own index gives them, 100 slots. */
    function storeWithIndex(edit: (index: Buffer) => void = () => {}): string {
      const directory = workspace.path();
      const properties = [
        { name: "KEYS", value: "parcel-8" },
        { name: "UNIQ_KEY", value: "7F0000012A9F18B4AAC20000000000AA" },
      ];
      writeStore(directory, [{ body: Buffer.from("Hello"), sysFlag: 0, properties }]);
      const index = Buffer.alloc(ITEMS_AT + 400 * 20);
      index.writeInt32BE(2, 32);
      index.writeInt32BE(3, 36);
      for (const [item, hash] of [1_171_230_186, 931_637_386].entries()) {
        const slotAt = 40 + 4 * (hash % 100);
        index.writeInt32BE(hash, ITEMS_AT + 20 * (item + 1));
        index.writeInt32BE(index.readInt32BE(slotAt), ITEMS_AT + 20 * (item + 1) + 16);
        index.writeInt32BE(item + 1, slotAt);
      }
      edit(index);
      mkdirSync(join(directory, "index"));
      writeFileSync(join(directory, "index", "20231114221320123"), index);
      return directory;
    }

    it("is believed when every item is a key of its message", () => {
      const { report } = look(storeWithIndex());
      expect(report.damage).toEqual([]);
      expect(report.files.find(({ kind }) => kind === "key-index")).toMatchObject({ entryCount: 2 });
    });

    it("of another shape, whose size happens to divide like RocketMQ's, is left alone", async () => {
      const directory = workspace.path();
      await (await writeCommitlog(directory, { keyIndexSlots: 20, keyIndexItems: 500 })).close();
      const { report } = look(directory);
      expect(report.damage).toEqual([]);
      expect(report.files.find(({ kind }) => kind === "key-index")!.notes).toEqual([
        expect.stringContaining("does not tell how many slots"),
      ]);
    });

    const WRONG: readonly [string, (index: Buffer) => void, number, RegExp][] = [
      [
        "a hash that no key has",
        (b) => flip(b, ITEMS_AT + 20 + 1, 1),
        ITEMS_AT + 20,
        /^item 1 has the hash \d+, which no key/,
      ],
      [
        "a position without a message",
        (b) => void b.writeBigInt64BE(7n, ITEMS_AT + 44),
        ITEMS_AT + 40,
        /^item 2 names byte 7/,
      ],
      [
        "a chain that is broken",
        (b) => void b.writeInt32BE(9, ITEMS_AT + 20 + 16),
        ITEMS_AT + 20,
        /^item 1 names item 9 as the one before it/,
      ],
      [
        "a slot of another item",
        (b) => void b.writeInt32BE(2, 40),
        40,
        /^slot 0 names item 2 as its newest, which is 0\.$/,
      ],
      [
        "more items than room",
        (b) => void b.writeInt32BE(5_000, 36),
        36,
        /^it announces 4999 items and has room for 399\.$/,
      ],
    ];
    for (const [name, edit, positionBytes, what] of WRONG)
      it(`is not believed with ${name}`, () => {
        const file = "index/20231114221320123";
        expect(damageOf(storeWithIndex(edit))).toMatchObject([
          { kind: expect.any(String), file, positionBytes, what: expect.stringMatching(what) },
        ]);
      });
  });
});

it("of a store that has lost a file and was opened since names the loss, and finds all else in order", async () => {
  const directory = workspace.path();
  cpSync(sound, directory, { recursive: true });
  rmSync(join(directory, "commitlog", logFiles[1]!));
  expect(damageOf(directory).length).toBeGreaterThan(1);
  await (await openCommitlog(directory)).close();
  expect(damageOf(directory)).toEqual([
    {
      ...{ kind: "gap", file: `commitlog/${logFiles[1]}`, positionBytes: 0 },
      what: `${FILE_SIZE_BYTES} bytes up to the file's end were lost, with the messages in them; the file was made whole again without.`,
    },
  ]);
});

interface Written {
  readonly body: Uint8Array;
  readonly sysFlag: number;
  readonly properties?: { name: string; value: string }[];
}

/** A store with these messages in one queue, and no consumequeue. */
function writeStore(directory: string, messages: readonly Written[]): void {
  mkdirSync(join(directory, "commitlog"), { recursive: true });
  const file = Buffer.alloc(FILE_SIZE_BYTES);
  let at = 0;
  for (const [queueOffset, { body, sysFlag, properties = [] }] of messages.entries()) {
    const host = { address: Uint8Array.of(127, 0, 0, 1), port: 1 };
    const bytes = encodeMessage({
      ...{ queueId: 3, flag: 0, queueOffset, physicalOffset: at, sysFlag, bornTimestampMs: 1_700_000_000_000 },
      ...{ bornHost: host, storeTimestampMs: 1_700_000_000_123, storeHost: host, reconsumeTimes: 0 },
      ...{ preparedTransactionOffset: 0, body, topic: "TopicTest", properties: encodeProperties(properties) },
    });
    file.set(bytes, at);
    at += bytes.length;
  }
  writeFileSync(join(directory, FIRST), file);
}

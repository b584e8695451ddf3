import { afterEach, describe, expect, test } from "vitest";
import { LENGTH_AT } from "../codec/record-batch.js";
import { encodeRecordBatch } from "../codec/record-batch-reference.js";
import { Message } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import type { Storage } from "../storage/storage.js";
import { CLEAN_SHUTDOWN_MARKER, LEADER_EPOCH_CHECKPOINT, RECOVERY_POINT_CHECKPOINT } from "./names.js";
import { DAMAGE_CASES, type DamageFacts, LEFTOVERS, SEGMENT_CASES, type SegmentFacts } from "./recovery.js";
import {
  appendBatches,
  DIRECTORY,
  expected,
  fileNames,
  message,
  type Opened,
  open,
  pathOf,
  payload,
  put,
  read,
  readAll,
  START_MS,
} from "./testing.js";

/** Batches of four messages of 100 bytes; three batches fill a segment: base offsets 0, 12, 24. */
const BATCH_BYTES = 61 + 4 * 109;
const SETTINGS = { segmentSizeBytes: 3 * BATCH_BYTES, indexIntervalBytes: 400 };
const MARKER = `${DIRECTORY}/${CLEAN_SHUTDOWN_MARKER}`;

let opened: Opened | undefined;
afterEach(async () => {
  await opened?.engine.close();
  opened = undefined;
});

/** Segments 0 to 11, 12 to 23, 24 to 31, left by a clean close or by a kill. */
async function written(end: "closed" | "killed", storage = new FaultyStorage()): Promise<FaultyStorage> {
  const { engine } = await open(storage, SETTINGS);
  await engine.createTopic("t", 1);
  appendBatches(engine, 0, [0, 32]);
  if (end === "closed") {
    await engine.close();
    return storage;
  }
  const image = storage.kill();
  await engine.close();
  return image;
}

async function reopen(storage: Storage): Promise<Opened["engine"]> {
  opened = await open(storage, SETTINGS);
  return opened.engine;
}

/** Appends go on where the log ended, and everything is there after another opening, which finds nothing to mend. */
async function expectToGoOn(storage: Storage, messageCount: number): Promise<void> {
  let { engine } = opened!;
  expect(engine.partitionInfo(0).endOffset).toBe(messageCount);
  expect(await readAll(engine, 0)).toEqual(expected(0, messageCount));
  appendBatches(engine, 0, [messageCount, messageCount + 8]);
  expect(await readAll(engine, 0)).toEqual(expected(0, messageCount + 8));
  await engine.close();
  engine = await reopen(storage);
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: true, truncatedBytes: 0, repairs: [] });
  expect(await readAll(engine, 0)).toEqual(expected(0, messageCount + 8));
}

function damage(storage: Storage, path: string, change: (content: Buffer) => Buffer): void {
  put(storage, path, change(read(storage, path)));
}

function flipBit(at: number): (content: Buffer) => Buffer {
  return (content) => {
    content[at]! ^= 4;
    return content;
  };
}

describe("the table of segments", () => {
  const booleans = [false, true];
  const all: SegmentFacts[] = booleans.flatMap((wasCleanShutdown) =>
    booleans.flatMap((isLast) =>
      booleans.flatMap((hasOffsetIndex) =>
        booleans
          .filter((isBelowRecoveryPoint) => !(isLast && isBelowRecoveryPoint))
          .map((isBelowRecoveryPoint) => ({ wasCleanShutdown, isLast, hasOffsetIndex, isBelowRecoveryPoint })),
      ),
    ),
  );

  test.each(all)("decides %o", (facts) => {
    const { action } = SEGMENT_CASES.find((each) => each.applies(facts))!;
    // Nothing is trusted unread but what was synced and closed, and the last segment never.
    if (action === "trust") expect(facts.hasOffsetIndex && !facts.isLast).toBe(true);
    if (action === "trust") expect(facts.wasCleanShutdown || facts.isBelowRecoveryPoint).toBe(true);
    if (action === "verify the tail") expect(facts.wasCleanShutdown && facts.isLast).toBe(true);
    if (!facts.wasCleanShutdown && !facts.isBelowRecoveryPoint) expect(action).toBe("scan");
    if (!facts.hasOffsetIndex) expect(action).toBe("scan");
  });

  test.each(SEGMENT_CASES.map((each, i) => [each.name, i] as const))("uses its case: %s", (_name, i) => {
    expect(all.some((facts) => SEGMENT_CASES.findIndex((each) => each.applies(facts)) === i)).toBe(true);
  });

  test.each(
    booleans.flatMap((isBelowRecoveryPoint) =>
      booleans.flatMap((soundDataFollows) =>
        booleans.map((nextSegmentContinues) => ({ isBelowRecoveryPoint, soundDataFollows, nextSegmentContinues })),
      ),
    ),
  )("keeps rot only in synced data with sound data behind, and drops no segment that continues: %o", (facts) => {
    const { isBelowRecoveryPoint, soundDataFollows, nextSegmentContinues }: DamageFacts = facts;
    const { action } = DAMAGE_CASES.find((each) => each.applies(facts))!;
    if (nextSegmentContinues) expect(action).toBe("cut the noise");
    else expect(action).toBe(isBelowRecoveryPoint && soundDataFollows ? "keep" : "cut");
  });
});

describe("damage to the last segment", () => {
  const damages: Record<string, { change: (content: Buffer) => Buffer; messagesLeft: number }> = {
    nothing: { change: (content) => content, messagesLeft: 32 },
    "a torn tail": { change: (content) => Buffer.concat([content, content.subarray(0, 100)]), messagesLeft: 32 },
    "a tail of less than a header": {
      change: (content) => Buffer.concat([content, Buffer.alloc(7, 1)]),
      messagesLeft: 32,
    },
    "a tail of zeros": { change: (content) => Buffer.concat([content, Buffer.alloc(5_000)]), messagesLeft: 32 },
    "a tail of noise": { change: (content) => Buffer.concat([content, Buffer.alloc(999, 0xe7)]), messagesLeft: 32 },
    "a tail of stale batches": { change: (content) => Buffer.concat([content, content]), messagesLeft: 32 },
    "a cut inside the last batch": { change: (content) => content.subarray(0, content.length - 100), messagesLeft: 28 },
    "a cut inside the last header": { change: (content) => content.subarray(0, BATCH_BYTES + 30), messagesLeft: 28 },
    "a cut between batches": { change: (content) => content.subarray(0, BATCH_BYTES), messagesLeft: 28 },
    "nothing left": { change: () => Buffer.alloc(0), messagesLeft: 24 },
    "a bit in the last batch": { change: flipBit(BATCH_BYTES + 200), messagesLeft: 28 },
    "a bit in the last base offset": { change: flipBit(BATCH_BYTES + 7), messagesLeft: 28 },
    "a bit in the last length": { change: flipBit(BATCH_BYTES + 9), messagesLeft: 28 },
    "a bit in the last magic": { change: flipBit(BATCH_BYTES + 16), messagesLeft: 28 },
  };
  const indexes: Record<string, (content: Buffer) => Buffer | null> = {
    "indexes as they are": (content) => content,
    "no indexes": () => null,
    "empty indexes": () => Buffer.alloc(0),
    "untrimmed indexes": (content) => Buffer.concat([content, Buffer.alloc(2_400 - content.length)]),
    "indexes of zeros": () => Buffer.alloc(2_400),
    "torn indexes": (content) => content.subarray(0, Math.max(0, content.length - 5)),
    "indexes of noise": () => Buffer.alloc(48, 0x17),
  };

  for (const end of ["killed", "closed"] as const) {
    for (const [name, { change, messagesLeft }] of Object.entries(damages)) {
      test.each(Object.entries(indexes))(`${end}, ${name}, %s`, async (_name, changeIndex) => {
        const storage = await written(end);
        damage(storage, pathOf(24, ".log"), change);
        for (const suffix of [".index", ".timeindex"]) {
          const path = pathOf(24, suffix);
          const content = changeIndex(storage.exists(path) ? read(storage, path) : Buffer.alloc(0));
          if (content !== null) put(storage, path, content);
          else if (storage.exists(path)) storage.remove(path);
        }
        const sizeBytes = read(storage, pathOf(24, ".log")).length;
        const engine = await reopen(storage);
        const cutBytes = sizeBytes - ((messagesLeft - 24) / 4) * BATCH_BYTES;
        expect(engine.recovery).toMatchObject({ wasCleanShutdown: end === "closed", truncatedBytes: cutBytes });
        expect(engine.recovery.repairs.length).toBe(cutBytes > 0 ? 1 : 0);
        if (cutBytes > 0)
          expect(engine.recovery.repairs[0]).toMatch(/00000000000000000024\.log was cut by \d+ bytes at byte \d+: a/);
        await expectToGoOn(storage, messagesLeft);
      });
    }
  }
});

describe("damage to earlier segments", () => {
  test("after a kill cuts there and drops what follows, and says so", async () => {
    const storage = await written("killed");
    damage(storage, pathOf(0, ".log"), flipBit(BATCH_BYTES + 200));
    const engine = await reopen(storage);
    expect(engine.recovery).toMatchObject({ truncatedBytes: 7 * BATCH_BYTES, droppedFiles: 4 });
    expect(engine.recovery.repairs).toEqual([
      expect.stringMatching(/0\.log was cut by 994 bytes at byte 497: a record batch with a wrong checksum\./),
      expect.stringMatching(/12\.log \(1491 bytes\) was dropped: the log was cut before it/),
      expect.stringMatching(/24\.log \(994 bytes\) was dropped: the log was cut before it/),
    ]);
    expect(fileNames(storage).filter((name) => name.endsWith(".log"))).toEqual(["00000000000000000000.log"]);
    await expectToGoOn(storage, 4);
  });

  test("a segment that lost its end between batches is found by the next one's base offset", async () => {
    const storage = await written("killed");
    damage(storage, pathOf(0, ".log"), (content) => content.subarray(0, BATCH_BYTES));
    const engine = await reopen(storage);
    expect(engine.recovery.droppedFiles).toBe(4);
    await expectToGoOn(storage, 4);
  });

  const NOISE: Record<string, Buffer> = {
    "a byte": Buffer.alloc(1, 7),
    noise: Buffer.alloc(999, 0xe7),
    zeros: Buffer.alloc(5_000),
    "zeros and noise": Buffer.concat([Buffer.alloc(600), Buffer.alloc(600, 0x5a)]),
  };
  for (const [name, noise] of Object.entries(NOISE)) {
    test.each([
      [0, 1],
      [12, 1],
      [12, 2],
    ])(`${name} behind the last batch of a segment costs no message (segment %i, %i times)`, async (base, count) => {
      const storage = await written("killed");
      damage(storage, pathOf(base, ".log"), (content) => Buffer.concat([content, ...Array(count).fill(noise)]));
      const engine = await reopen(storage);
      expect(engine.recovery).toMatchObject({ truncatedBytes: count * noise.length, droppedFiles: 0 });
      expect(engine.recovery.repairs).toEqual([
        expect.stringMatching(
          new RegExp(`${base}\\.log was cut by ${count * noise.length} bytes at byte 1491: a.*; the later segments`),
        ),
      ]);
      await expectToGoOn(storage, 32);
    });
  }

  test("a stale copy of a segment's own batches behind its last one costs no message", async () => {
    const storage = await written("killed");
    damage(storage, pathOf(12, ".log"), (content) => Buffer.concat([content, content]));
    expect((await reopen(storage)).recovery).toMatchObject({ truncatedBytes: 3 * BATCH_BYTES, droppedFiles: 0 });
    await expectToGoOn(storage, 32);
  });

  test.each(Array.from({ length: 40 }, (_, seed) => seed))(
    "noise at random ends of segments, then one torn: all up to the tear is there, nothing behind it (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const storage = new FaultyStorage();
      const first = await open(storage, SETTINGS);
      await first.engine.createTopic("t", 1);
      const segmentCount = 2 + Math.floor(random() * 6);
      appendBatches(first.engine, 0, [0, 12 * segmentCount]);
      const image = storage.kill();
      await first.engine.close();
      const torn = Math.floor(random() * (segmentCount + 1)); // none of them when it is their number
      let messagesLeft = 12 * segmentCount;
      for (let i = 0; i < segmentCount; i++) {
        const noise = Buffer.from(Array.from({ length: Math.floor(random() * 700) }, () => random() * 256));
        const cutAt = i === torn ? Math.floor(random() * 3 * BATCH_BYTES) : 3 * BATCH_BYTES;
        if (i === torn) messagesLeft = 12 * i + 4 * Math.floor(cutAt / BATCH_BYTES);
        damage(image, pathOf(12 * i, ".log"), (content) => Buffer.concat([content.subarray(0, cutAt), noise]));
      }
      await reopen(image);
      await expectToGoOn(image, messagesLeft);
    },
  );

  test("rot in the last batch of a synced segment costs that batch alone", async () => {
    for (const end of ["closed", "killed"] as const) {
      const storage = await written(end);
      put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 32\n"));
      damage(storage, pathOf(0, ".log"), flipBit(2 * BATCH_BYTES + 200));
      storage.remove(pathOf(0, ".index")); // so that it is read at all
      const engine = await reopen(storage);
      expect(engine.recovery).toMatchObject({ truncatedBytes: 0, droppedFiles: 0 });
      expect(engine.recovery.repairs).toEqual([
        expect.stringMatching(
          /0\.log holds a record batch with a wrong checksum at byte 994: offsets 8 to 11 are lost/,
        ),
      ]);
      expect(await readAll(engine, 0, 12)).toEqual(expected(12, 32));
      await expect(engine.fetch(0, 9, 300, () => {})).rejects.toThrow(/0\.log at byte 994/);
      await engine.close();
    }
  });

  test("a synced segment that lost its end is said to have, and the later ones stay", async () => {
    const storage = await written("killed");
    put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 32\n"));
    damage(storage, pathOf(0, ".log"), (content) => content.subarray(0, 2 * BATCH_BYTES));
    storage.remove(pathOf(0, ".index"));
    const engine = await reopen(storage);
    expect(engine.recovery).toMatchObject({ truncatedBytes: 0, droppedFiles: 0 });
    expect(engine.recovery.repairs).toEqual([
      expect.stringMatching(/0\.log ends before the next segment begins: offsets 8 to 11 are missing/),
    ]);
    expect(await readAll(engine, 0)).toEqual([...expected(0, 8), ...expected(12, 32)]);
  });

  test("a log lost from the middle is told by the indexes that it leaves, once", async () => {
    const storage = await written("closed");
    storage.remove(pathOf(12, ".log"));
    const engine = await reopen(storage);
    expect(engine.recovery.repairs.filter((repair) => repair.includes(".log"))).toEqual([
      expect.stringMatching(/0012\.log is missing: offsets 12 to 23 are lost\.$/),
    ]);
    expect(await readAll(engine, 0)).toEqual([...expected(0, 12), ...expected(24, 32)]);
    await engine.close();
    expect((await reopen(storage)).recovery.repairs).toEqual([]);
  });

  test("indexes without a log before the first segment, or of what the one before holds, tell of no loss", async () => {
    const storage = await written("closed");
    put(storage, pathOf(8, ".index"), Buffer.alloc(8)); // a compaction merged it into segment 0
    storage.remove(pathOf(0, ".log"));
    const first = (await reopen(storage)).recovery.repairs;
    expect(first.filter((repair) => repair.includes("missing"))).toEqual([]);
    await opened!.engine.close();
    put(storage, pathOf(16, ".index"), Buffer.alloc(8));
    const merged = (await reopen(storage)).recovery.repairs;
    expect(merged).toEqual([expect.stringMatching(/0016\.index belonged to no log and is removed\.$/)]);
  });

  test("is not cut in what was synced: the rest stays, and the damaged offsets say so", async () => {
    const storage = await written("killed");
    put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 20\n"));
    damage(storage, pathOf(0, ".log"), flipBit(BATCH_BYTES + 200)); // trusted unread, as in Kafka
    damage(storage, pathOf(12, ".log"), flipBit(200)); // the segment of the recovery point
    const engine = await reopen(storage);
    expect(engine.recovery).toMatchObject({ truncatedBytes: 0, droppedFiles: 0 });
    expect(engine.recovery.repairs).toEqual([
      expect.stringMatching(/12\.log holds a record batch with a wrong checksum at byte 0: offsets 12 to 15 are lost/),
    ]);
    expect(engine.partitionInfo(0).endOffset).toBe(32);
    for (const [from, to] of [
      [0, 4],
      [8, 12],
      [16, 32],
    ] as const) {
      const read: number[] = [];
      for (let at: number = from; at < to; ) {
        const { nextOffset } = await engine.fetch(0, at, 300, ({ offset, value }) => {
          read.push(offset);
          expect(Buffer.from(value!)).toEqual(payload(offset));
        });
        at = nextOffset;
      }
      expect(read).toEqual(expected(from, to).map((each) => each.offset));
    }
    for (const offset of [4, 7, 12, 15]) {
      await expect(engine.fetch(0, offset, 300, () => {})).rejects.toThrow(CorruptDataError);
    }
    appendBatches(engine, 0, [32, 36]);
    expect(await readAll(engine, 0, 16)).toEqual(expected(16, 36));
  });

  test.each(Array.from({ length: 32 }, (_, bit) => bit))(
    "a flipped bit %i in a synced batch's length costs that batch alone",
    async (bit) => {
      const storage = await written("killed");
      put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 32\n"));
      damage(storage, pathOf(24, ".log"), (content) => {
        content[LENGTH_AT + (bit >> 3)]! ^= 1 << (bit & 7);
        return content;
      });
      const engine = await reopen(storage);
      expect(engine.recovery).toMatchObject({ truncatedBytes: 0, droppedFiles: 0 });
      expect(engine.recovery.repairs).toEqual([
        expect.stringMatching(
          /24\.log holds a.* record batch.* at byte 0: offsets 24 to 27 are lost, the rest is kept/,
        ),
      ]);
      expect(await readAll(engine, 0, 28)).toEqual(expected(28, 32));
      for (const offset of [24, 27]) {
        await expect(engine.fetch(0, offset, 300, () => {})).rejects.toThrow(/24\.log at byte 0/);
      }
      appendBatches(engine, 0, [32, 36]);
      expect(await readAll(engine, 0, 28)).toEqual(expected(28, 36));
    },
  );

  test("a flipped bit in the length of a batch between others costs that batch alone", async () => {
    const storage = await written("closed");
    const settings = { ...SETTINGS, segmentSizeBytes: 1 << 20 };
    damage(storage, pathOf(12, ".log"), (content) => {
      content[BATCH_BYTES + LENGTH_AT + 3]! ^= 8;
      return content;
    });
    opened = await open(storage, settings);
    const { engine } = opened;
    expect(await readAll(engine, 0, 20)).toEqual(expected(20, 32));
    await expect(engine.fetch(0, 16, 300, () => {})).rejects.toThrow(CorruptDataError);
    expect((await engine.fetch(0, 12, 1 << 20, () => {})).nextOffset).toBe(16);
  });

  test("a batch within a message does not pass for the log's next one", async () => {
    const storage = new FaultyStorage();
    const { engine } = await open(storage, { ...SETTINGS, segmentSizeBytes: 1 << 20 });
    await engine.createTopic("t", 1);
    const nested = encodeRecordBatch([{ timestampMs: START_MS, key: null, value: Buffer.from("nested") }], {
      baseOffset: 1,
      leaderEpoch: 0,
    });
    engine.append(0, new Message(heap, nested), START_MS);
    engine.poll();
    appendBatches(engine, 0, [1, 9]);
    await engine.flush();
    const image = storage.kill();
    await engine.close();
    put(image, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 9\n"));
    damage(image, pathOf(0, ".log"), flipBit(LENGTH_AT + 3));
    const again = await reopen(image);
    expect(await readAll(again, 0, 1)).toEqual(expected(1, 9));
    await expect(again.fetch(0, 0, 300, () => {})).rejects.toThrow(CorruptDataError);
  });

  test("rot with nothing sound behind it is cut", async () => {
    const storage = await written("killed");
    put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 32\n"));
    damage(storage, pathOf(24, ".log"), flipBit(BATCH_BYTES + 200));
    await reopen(storage);
    await expectToGoOn(storage, 28);
  });

  test("an unusable index of an ended segment is rebuilt when it is read", async () => {
    for (const content of [Buffer.alloc(24_000), Buffer.alloc(7), Buffer.from("000000030000ffff", "hex")]) {
      const storage = await written("closed");
      put(storage, pathOf(0, ".index"), content);
      const engine = await reopen(storage);
      expect(await readAll(engine, 0, 9)).toEqual(expected(9, 32));
      await engine.close();
    }
  });

  test("an index that points at the wrong batch misleads nobody", async () => {
    const storage = await written("closed");
    // Sound in form: offset 3 at the second batch, which ends at offset 7.
    put(storage, pathOf(0, ".index"), Buffer.from("00000003000001f1", "hex"));
    const engine = await reopen(storage);
    for (let from = 0; from < 12; from++) expect(await readAll(engine, 0, from, 1)).toEqual(expected(from, 32));
  });
});

test("a directory of logs alone is enough", async () => {
  const storage = await written("closed");
  for (const name of fileNames(storage)) if (!name.endsWith(".log")) storage.remove(`${DIRECTORY}/t-0/${name}`);
  for (const { name, kind } of storage.list(DIRECTORY)) if (kind === "file") storage.remove(`${DIRECTORY}/${name}`);
  const engine = await reopen(storage);
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: false, truncatedBytes: 0, rebuiltIndexes: 6 });
  expect(engine.recovery.scannedBytes).toBe(8 * BATCH_BYTES);
  await expectToGoOn(storage, 32);
});

test("a clean shutdown is opened without reading more than the tail", async () => {
  const storage = await written("closed");
  const { engine } = await open(storage, SETTINGS);
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: true, rebuiltIndexes: 0 });
  expect(engine.recovery.scannedBytes).toBe(BATCH_BYTES);
  // The marker is gone while the engine is open: a crash now is a crash.
  expect(storage.exists(MARKER)).toBe(false);
  const crashed = storage.kill();
  await engine.close();
  expect(read(storage, MARKER).toString()).toBe('{"version":0,"brokerEpoch":-1}');
  opened = await open(crashed, SETTINGS);
  expect(opened.engine.recovery.wasCleanShutdown).toBe(false);
});

test("segments below the recovery point are not read after a crash", async () => {
  const storage = await written("killed");
  put(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, Buffer.from("0\n1\nt 0 24\n"));
  const engine = await reopen(storage);
  expect(engine.recovery.scannedBytes).toBe(2 * BATCH_BYTES);
  await expectToGoOn(storage, 32);
});

test("the recovery point moves by syncs alone", async () => {
  const storage = new FaultyStorage();
  const checkpoint = () => read(storage, `${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`).toString();
  opened = await open(storage, SETTINGS);
  await opened.engine.createTopic("t", 1);
  appendBatches(opened.engine, 0, [0, 8]);
  await opened.engine.close();
  expect(checkpoint()).toBe("0\n1\nt 0 8\n");
  opened = await open(storage, SETTINGS);
  appendBatches(opened.engine, 0, [8, 12]);
  storage.fault = ({ operation }) => (operation === "sync" ? "EIO" : null);
  await expect(opened.engine.flush()).rejects.toThrow(/EIO/);
  storage.fault = () => null;
  await opened.engine.close();
  expect(checkpoint()).toBe("0\n1\nt 0 8\n");
  expect(storage.exists(MARKER)).toBe(false);
});

describe("leftovers", () => {
  test.each(LEFTOVERS.map((each) => each.suffix))("%s files are removed", async (suffix) => {
    const storage = await written("closed");
    const names = [
      `${"0".repeat(20)}.log${suffix}`,
      `${"0".repeat(20)}.index${suffix}`,
      `leader-epoch-checkpoint${suffix}`,
    ];
    for (const name of names) put(storage, `${DIRECTORY}/t-0/${name}`, Buffer.from("rubbish"));
    const engine = await reopen(storage);
    expect(engine.recovery).toMatchObject({ droppedFiles: 3, truncatedBytes: 0 });
    expect(fileNames(storage).filter((name) => name.endsWith(suffix))).toEqual([]);
    expect(await readAll(engine, 0)).toEqual(expected(0, 32));
  });

  test("indexes without a log are removed; other files are left alone", async () => {
    const storage = await written("closed");
    for (const suffix of [".index", ".timeindex", ".txnindex"]) put(storage, pathOf(999, suffix), Buffer.alloc(24));
    for (const name of ["partition.metadata", "notes.txt"]) put(storage, `${DIRECTORY}/t-0/${name}`, Buffer.from("x"));
    put(storage, pathOf(32, ".snapshot"), Buffer.from("000148674bc700000000", "hex"));
    put(storage, pathOf(33, ".snapshot"), Buffer.from("000148674bc700000000", "hex"));
    const engine = await reopen(storage);
    expect(engine.recovery.droppedFiles).toBe(4); // the snapshot is beyond the end
    expect(fileNames(storage)).toEqual(
      expect.arrayContaining(["partition.metadata", "notes.txt", `${"32".padStart(20, "0")}.snapshot`]),
    );
    expect(await readAll(engine, 0)).toEqual(expected(0, 32));
  });

  test("a swap that had begun to replace is finished", async () => {
    const storage = await written("killed");
    storage.rename(pathOf(12, ".log"), pathOf(12, ".log.swap"));
    const engine = await reopen(storage);
    expect(engine.recovery.repairs).toContainEqual(expect.stringMatching(/12\.log takes the place/));
    await expectToGoOn(storage, 32);
  });

  test("a swap replaces all segments that it spans", async () => {
    const storage = await written("closed");
    const both = Buffer.concat([read(storage, pathOf(0, ".log")), read(storage, pathOf(12, ".log"))]);
    put(storage, pathOf(0, ".log.swap"), both);
    const engine = await reopen(storage);
    expect(fileNames(storage).filter((name) => /\.log$/.test(name))).toEqual(
      [0, 24].map((base) => pathOf(base, ".log").slice(-24)),
    );
    expect(await readAll(engine, 0)).toEqual(expected(0, 32));
  });

  test("a swap beside its unfinished like is undone", async () => {
    const storage = await written("closed");
    put(storage, pathOf(12, ".log.swap"), Buffer.from("half"));
    put(storage, pathOf(0, ".log.cleaned"), Buffer.from("half"));
    const engine = await reopen(storage);
    expect(engine.recovery.droppedFiles).toBe(2);
    expect(await readAll(engine, 0)).toEqual(expected(0, 32));
  });
});

describe("logs that Kafka has compacted", () => {
  /** Offsets 0 to 3 and 8 to 11 in the first segment, 12 to 15 in the second. */
  const batchAt = (baseOffset: number) =>
    encodeRecordBatch(
      expected(baseOffset, baseOffset + 4).map(({ value }, i) => ({
        timestampMs: START_MS + baseOffset + i,
        key: null,
        value: Buffer.from(value),
      })),
      { baseOffset, leaderEpoch: 5 },
    );

  test("keep their gaps, in an ended segment, clean or not", async () => {
    for (const wasClean of [true, false]) {
      const storage = new FaultyStorage();
      storage.makeDirectory(`${DIRECTORY}/t-0`);
      put(storage, pathOf(0, ".log"), Buffer.concat([batchAt(0), batchAt(8)]));
      put(storage, pathOf(16, ".log"), batchAt(16));
      if (wasClean) put(storage, MARKER, Buffer.from("{}"));
      const engine = await reopen(storage);
      expect(engine.recovery).toMatchObject({ truncatedBytes: 0, droppedFiles: 0 });
      const all = [...expected(0, 4), ...expected(8, 12), ...expected(16, 20)];
      for (let from = 0; from < 20; from++) {
        expect(await readAll(engine, 0, from, 1)).toEqual(all.filter(({ offset }) => offset >= from));
      }
      // New batches go on in the epoch of the old ones.
      appendBatches(engine, 0, [20, 24]);
      expect(read(storage, pathOf(16, ".log")).readInt32BE(batchAt(16).byteLength + 12)).toBe(5);
      expect(await readAll(engine, 0, 16)).toEqual(expected(16, 24));
      await engine.close();
      expect(read(storage, `${DIRECTORY}/t-0/${LEADER_EPOCH_CHECKPOINT}`).toString()).toBe("0\n1\n5 0\n");
    }
  });

  test("are told from logs that lost an end by the cleaner's checkpoint", async () => {
    for (const isCompacted of [true, false]) {
      const storage = new FaultyStorage();
      storage.makeDirectory(`${DIRECTORY}/t-0`);
      put(storage, pathOf(0, ".log"), batchAt(0));
      put(storage, pathOf(16, ".log"), batchAt(16));
      if (isCompacted) put(storage, `${DIRECTORY}/cleaner-offset-checkpoint`, Buffer.from("0\n1\nt 0 16\n"));
      const engine = await reopen(storage);
      expect(engine.partitionInfo(0).endOffset).toBe(isCompacted ? 20 : 4);
      await engine.close();
    }
  });
});

describe("checkpoints", () => {
  test("the log start offset hides what is below it", async () => {
    const storage = await written("closed");
    const path = `${DIRECTORY}/log-start-offset-checkpoint`;
    put(storage, path, Buffer.from("0\n1\nt 0 6\n"));
    let engine = await reopen(storage);
    expect(engine.partitionInfo(0)).toMatchObject({ startOffset: 6, endOffset: 32 });
    expect(await readAll(engine, 0)).toEqual(expected(6, 32));
    await engine.close();
    expect(read(storage, path).toString()).toBe("0\n1\nt 0 6\n");
    put(storage, path, Buffer.from("0\n1\nt 0 40\n"));
    engine = await reopen(storage);
    expect(engine.partitionInfo(0)).toMatchObject({ startOffset: 40, endOffset: 40 });
    expect(engine.recovery.repairs).toHaveLength(3);
    appendBatches(engine, 0, [40, 44]);
    expect(await readAll(engine, 0)).toEqual(expected(40, 44));
  });

  test("unreadable ones are reported and taken for none", async () => {
    const storage = await written("killed");
    const names = [`${DIRECTORY}/${RECOVERY_POINT_CHECKPOINT}`, `${DIRECTORY}/t-0/${LEADER_EPOCH_CHECKPOINT}`];
    for (const name of names) put(storage, name, Buffer.from("0\n7\n"));
    const engine = await reopen(storage);
    expect(engine.recovery.repairs).toHaveLength(2);
    await expectToGoOn(storage, 32);
    expect(read(storage, names[1]!).toString()).toBe("0\n1\n0 0\n");
  });

  test("unreadable leader epochs are mended once, also where nothing is appended", async () => {
    const storage = await written("closed");
    put(storage, `${DIRECTORY}/t-0/${LEADER_EPOCH_CHECKPOINT}`, Buffer.from("rubbish"));
    expect((await reopen(storage)).recovery.repairs).toEqual([expect.stringMatching(/leader-epoch.* was unreadable/)]);
    await opened!.engine.close();
    const engine = await reopen(storage);
    expect(engine.recovery.repairs).toEqual([]);
    expect(await readAll(engine, 0)).toEqual(expected(0, 32));
  });

  test("after a crash the leader epochs are rebuilt from the batches", async () => {
    const storage = await written("killed");
    await reopen(storage);
    await opened!.engine.close();
    expect(read(storage, `${DIRECTORY}/t-0/${LEADER_EPOCH_CHECKPOINT}`).toString()).toBe("0\n1\n0 0\n");
  });
});

test("partitions marked for deletion are removed, foreign directories refused", async () => {
  const storage = await written("closed");
  const deleted = `${DIRECTORY}/gone-0.0123456789abcdef0123456789abcdef-delete`;
  storage.makeDirectory(deleted);
  put(storage, `${deleted}/${"0".repeat(20)}.log`, Buffer.from("x"));
  for (const name of ["lost+found", "t-9.0123456789abcdef0123456789abcdef-stray"])
    storage.makeDirectory(`${DIRECTORY}/${name}`);
  put(storage, `${DIRECTORY}/a-file`, Buffer.from("x"));
  const engine = await reopen(storage);
  expect(storage.exists(deleted)).toBe(false);
  expect(engine.partitions()).toHaveLength(1);
  await engine.close();
  storage.makeDirectory(`${DIRECTORY}/commitlog`);
  await expect(open(storage, SETTINGS)).rejects.toThrow(/\/data\/commitlog is not a partition's directory/);
  // The refusal let go of the lock.
  storage.removeDirectory(`${DIRECTORY}/commitlog`);
  await reopen(storage);
});

test("opening again after a crash during recovery mends the same", async () => {
  const storage = await written("killed");
  damage(storage, pathOf(12, ".log"), flipBit(BATCH_BYTES + 200));
  let calls = 0;
  const opening = storage.kill();
  opening.fault = () => {
    calls++;
    return null;
  };
  await (await reopen(opening)).close();
  for (let failing = 1; failing <= calls; failing += 3) {
    const attempt = storage.kill();
    let count = 0;
    attempt.fault = () => (++count === failing ? "EIO" : null);
    const outcome = await open(attempt, SETTINGS).catch((error: Error) => error);
    attempt.fault = () => null;
    const crashed = attempt.kill();
    if (!(outcome instanceof Error)) await outcome.engine.close();
    const engine = await reopen(crashed);
    expect(await readAll(engine, 0)).toEqual(expected(0, 16));
    await engine.close();
  }
  opened = undefined;
});

test("a message of every size survives kill and close", async () => {
  const storage = new FaultyStorage();
  const sizes = [0, 1, 57, 58, 8_000, 8_180, 16_000, 16_384, 40_000, 1_048_000];
  const { engine } = await open(storage);
  await engine.createTopic("t", 1);
  for (const [i, size] of sizes.entries()) expect(engine.append(0, message(i, size), START_MS)).toBe(true);
  engine.poll();
  const killed = storage.kill();
  await engine.close();
  for (const image of [killed, storage]) {
    const again = await reopen(image);
    const read = await readAll(again, 0);
    expect(read.map(({ value }) => value)).toEqual(sizes.map((size, i) => payload(i, size).toString()));
    await again.close();
  }
});

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeMessage } from "../codec/commitlog-message.js";
import { type EngineListener, Message, type RecoveryReport, type StorageEngine } from "../engine.js";
import { CorruptDataError, OpenError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { commitlog } from "./index.js";
import { chooseRecovery, type DirectoryFacts, type RecoveryAction } from "./recovery.js";

const ROOT = "/store";
const FILE_BYTES = 4_096;
const QUEUE_FILE_BYTES = 200;
const SETTINGS = { segmentSizeBytes: FILE_BYTES, consumequeueFileSizeBytes: QUEUE_FILE_BYTES };
const SILENT: EngineListener = { acknowledged() {}, failed() {} };
/** Of a record of topic `t` with a body of 100 bytes. */
const RECORD_BYTES = 91 + 1 + 100;

describe("the cases", () => {
  const facts = [true, false].flatMap((hasLog) =>
    [true, false].flatMap((hasConsumequeue) =>
      [true, false].flatMap((hasAbort) =>
        (["matches", "differs", "absent"] as const).flatMap((cleanShutdown) =>
          (["usable", "absent"] as const).flatMap((checkpoint) =>
            [true, false].flatMap((hasKeyIndex) =>
              [true, false].map(
                (hasLostFiles): DirectoryFacts => ({
                  ...{ hasLog, hasLostFiles, hasConsumequeue, hasAbort, cleanShutdown, checkpoint, hasKeyIndex },
                }),
              ),
            ),
          ),
        ),
      ),
    ),
  );

  it.each(facts)("%j", (fact) => {
    expect(chooseRecovery(fact).action).toBe(expectedAction(fact));
  });

  /** Nothing is believed that a crash, or another program, may have left behind. */
  function expectedAction(fact: DirectoryFacts): RecoveryAction {
    if (!fact.hasLog) return "drop-queues";
    if (fact.hasLostFiles) return "scan-whole";
    if (fact.hasAbort) {
      const isWhole = fact.checkpoint === "usable" && fact.hasConsumequeue && fact.hasKeyIndex;
      return isWhole ? "scan-from-checkpoint" : "scan-whole";
    }
    return fact.cleanShutdown === "matches" ? "trust" : "scan-whole";
  }
});

let storage: FaultyStorage;
let engine: StorageEngine | undefined;

beforeEach(() => {
  storage = new FaultyStorage();
  engine = undefined;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await engine?.close();
});

describe("after a clean shutdown", () => {
  it("reads nothing of the log", async () => {
    await write(3, 50);
    const report = await reopen();
    expect(report).toMatchObject({ wasCleanShutdown: true, scannedBytes: 0, repairs: [], rebuiltIndexes: 0 });
    await expectMessages(3, 50);
  });

  it("finds topics without messages again", async () => {
    await open();
    await engine!.createTopic("t", 3);
    await close();
    await reopen();
    expect(engine!.partitions().map(({ topic, index, endOffset }) => [topic, index, endOffset])).toEqual([
      ["t", 0, 0],
      ["t", 1, 0],
      ["t", 2, 0],
    ]);
  });

  it.each(["__proto__", "constructor", "%RETRY%a|b"])("finds the topic %s again", async (topic) => {
    await open();
    await engine!.createTopic(topic, 2);
    await append(2, 0, 5);
    await close();
    expect(await reopen()).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expectMessages(2, 5);
    expect(engine!.partitionInfo(1).topic).toBe(topic);
  });

  it("scans the log when the file that says so is missing, and finds everything right", async () => {
    await write(3, 50);
    storage.remove(`${ROOT}/clean-shutdown.json`);
    const report = await reopen();
    expect(report).toMatchObject({ wasCleanShutdown: true, repairs: [], rebuiltIndexes: 0, truncatedBytes: 0 });
    expect(report.scannedBytes).toBeGreaterThan(150 * RECORD_BYTES);
    await expectMessages(3, 50);
  });

  it.each([
    "its last unit zero",
    "its first file gone",
    "a file in the middle gone",
    "its last file gone",
    "all its files gone",
    "all consumequeues gone",
  ])("mends a consumequeue that lacks units: %s", async (what) => {
    await write(3, 50);
    const directory = `${ROOT}/consumequeue/t/1`;
    if (what === "its last unit zero") overwrite(`${directory}/00000000000000000800`, 9 * 20, new Uint8Array(20));
    if (what === "its first file gone") storage.remove(`${directory}/00000000000000000000`);
    if (what === "a file in the middle gone") storage.remove(`${directory}/00000000000000000400`);
    if (what === "its last file gone") storage.remove(`${directory}/00000000000000000800`);
    if (what === "all its files gone") removeFiles(directory);
    if (what === "all consumequeues gone") for (const q of [0, 1, 2]) removeFiles(`${ROOT}/consumequeue/t/${q}`);
    const report = await reopen();
    expect(report.rebuiltIndexes).toBe(what === "all consumequeues gone" ? 3 : 1);
    await expectMessages(3, 50);
    await appendAndExpect(3, 50, 20);
  });

  it("cuts units that point behind the log's end", async () => {
    await write(1, 50);
    overwrite(`${ROOT}/consumequeue/t/0/00000000000000001000`, 0, new Uint8Array(0), true);
    const report = await reopen();
    expect(report.repairs).toEqual([]);
    await expectMessages(1, 50);
  });

  it("rebuilds a consumequeue whose files have another size", async () => {
    await write(2, 50);
    storage.open(`${ROOT}/consumequeue/t/0/00000000000000000200`, "write").truncate(60);
    const report = await reopen();
    expect(report.repairs).toContainEqual(expect.stringMatching(/consumequeue\/t\/0: 00000000000000000200 of another/));
    await expectMessages(2, 50);
  });

  it("keeps what follows a damaged message, and refuses to read that one", async () => {
    await write(1, 50);
    flipBit(positionOf(10) + 95); // in the body of message 10
    storage.remove(`${ROOT}/clean-shutdown.json`);
    const report = await reopen();
    expect(report.repairs).toEqual([
      expect.stringMatching(new RegExp(`body that does not match its CRC at byte ${positionOf(10)}`)),
    ]);
    expect(engine!.partitionInfo(0).endOffset).toBe(50);
    await expect(read(0, 10)).rejects.toThrow(CorruptDataError);
    for (const offset of [...range(0, 10), ...range(11, 50)]) expect(await read(0, offset)).toEqual(bodyOf(0, offset));
  });

  it("takes a message whose queue offset no damage explains for damaged itself, and keeps the next ones", async () => {
    await write(1, 60);
    flipBit(positionOf(10) + 95);
    flipBit(positionOf(25) + 23); // message 25 says that it is number 25 + 2^34
    storage.remove(`${ROOT}/clean-shutdown.json`);
    await reopen();
    for (const offset of [10, 25]) await expect(read(0, offset)).rejects.toThrow(CorruptDataError);
    for (const offset of [9, 11, 24, 26, 27, 59]) expect(await read(0, offset)).toEqual(bodyOf(0, offset));
    expect(engine!.partitionInfo(0).endOffset).toBe(60);
  });

  it("points at the damage where a rebuilt consumequeue has no record", async () => {
    await write(2, 50);
    flipBit(positionOf(21) + 95); // message 10 of queue 1
    for (const q of [0, 1]) removeFiles(`${ROOT}/consumequeue/t/${q}`);
    await reopen();
    await expect(read(1, 10)).rejects.toThrow(/body that does not match its CRC.*000000/);
    expect(await read(1, 11)).toEqual(bodyOf(1, 11));
    expect(await read(0, 10)).toEqual(bodyOf(0, 10));
  });

  it("keeps the offsets of a queue's first and last messages when those are the damaged ones", async () => {
    await write(2, 50);
    flipBit(positionOf(1) + 95); // message 0 of queue 1
    flipBit(positionOf(98) + 95); // message 49 of queue 0
    storage.remove(`${ROOT}/clean-shutdown.json`);
    await reopen();
    for (const queue of [0, 1]) {
      expect(engine!.partitionInfo(queue)).toMatchObject({ startOffset: 0, endOffset: 50 });
    }
    await expect(read(1, 0)).rejects.toThrow(CorruptDataError);
    await expect(read(0, 49)).rejects.toThrow(CorruptDataError);
    await append(2, 50, 5);
    expect(await read(0, 50)).toEqual(bodyOf(0, 50));
    expect(await read(1, 1)).toEqual(bodyOf(1, 1));
  });

  it("cuts the log where its last file was cut short", async () => {
    await write(2, 50);
    const kept = positionOf(90) + 70; // in the middle of message 45 of queue 0
    storage.open(log(4 * FILE_BYTES), "write").truncate(kept - 4 * FILE_BYTES);
    const report = await reopen();
    expect(report.repairs).toContainEqual(expect.stringMatching(/16384: cut short to \d+ bytes/));
    expect(report.repairs).toContainEqual(expect.stringContaining(`at byte ${positionOf(90)}; `));
    await expectMessages(2, 45);
    await appendAndExpect(2, 45, 10);
  });

  it.each([".deleted", ".cleaned", ".swap", ".tmp"])("removes leftovers that end with %s", async (suffix) => {
    await write(2, 50);
    const leftovers = [log(4_096), `${ROOT}/consumequeue/t/0/00000000000000000200`, `${ROOT}/index/20231114221320123`];
    for (const path of leftovers) overwrite(path + suffix, 0, new Uint8Array(100).fill(1), true);
    const report = await reopen();
    expect(report).toMatchObject({ droppedFiles: 3, rebuiltIndexes: 0, scannedBytes: 0 });
    for (const path of leftovers) {
      expect(report.repairs).toContainEqual(expect.stringContaining(`${path}${suffix}: a leftover`));
      expect(storage.exists(path + suffix)).toBe(false);
    }
    await expectMessages(2, 50);
    await close();
    expect(await reopen()).toMatchObject({ repairs: [], droppedFiles: 0 });
  });

  it("says once which message is rotten, and reads the whole log no more for a rot that it knows", async () => {
    await write(1, 50);
    flipBit(positionOf(10) + 95);
    expect(await reopen()).toMatchObject({ scannedBytes: 0, repairs: [] });
    await expect(read(0, 10)).rejects.toThrow(CorruptDataError);
    await close();
    const report = await reopen();
    expect(report.repairs).toEqual([expect.stringContaining(`at byte ${positionOf(10)}`)]);
    for (let time = 0; time < 3; time++) {
      await expect(read(0, 10)).rejects.toThrow(CorruptDataError);
      await close();
      expect(await reopen()).toMatchObject({ scannedBytes: 0, repairs: [] });
    }
  });

  it("says so when the log is gone", async () => {
    await write(1, 50);
    removeFiles(`${ROOT}/commitlog`);
    const report = await reopen();
    expect(report.repairs).toContainEqual(expect.stringMatching(/commitlog: empty, though a clean shutdown left it/));
    expect(engine!.partitionInfo(0).endOffset).toBe(0);
  });

  it.each([
    [
      "its only file is whole and of another size",
      () => {
        storage.makeDirectory(ROOT);
        const [root, settings] = [`${ROOT}/commitlog`, JSON.parse(text(`${ROOT}/clean-shutdown.json`))];
        for (const base of [4_096, 8_192]) storage.remove(`${root}/${String(base).padStart(20, "0")}`);
        storage.open(log(0), "write").truncate(2_048);
        settings.logEndOffset = 2_000;
        storage.replaceAll(`${ROOT}/clean-shutdown.json`, Buffer.from(JSON.stringify(settings)));
      },
      /segmentSizeBytes 2048/,
    ],
    [
      "all its files have another size",
      () => {
        for (const base of [0, 4_096, 8_192]) storage.open(log(base), "write").truncate(2_048);
        storage.rename(log(4_096), log(2_048));
        storage.rename(log(8_192), log(4_096));
      },
      /segmentSizeBytes 2048/,
    ],
    [
      "a file lies far behind the others",
      () => storage.rename(log(8_192), log(4_096 * 1_000_000)),
      /999998 files are missing, the first begins at byte 8192/,
    ],
    ["a stranger lies in the row", () => void storage.open(`${ROOT}/commitlog/notes.txt`, "create"), /notes.txt is no/],
  ])("refuses the directory when %s", async (_, spoil, message) => {
    await write(1, 50);
    spoil();
    await expect(open()).rejects.toThrow(OpenError);
    await expect(open()).rejects.toThrow(message);
  });
});

describe("after a crash", () => {
  it("keeps every written message, and the queues follow", async () => {
    await crash(3, 50);
    const report = await reopen();
    expect(report).toMatchObject({ wasCleanShutdown: false, truncatedBytes: 0 });
    await expectMessages(3, 50);
    await appendAndExpect(3, 50, 20);
  });

  it("reads only from the checkpoint on, if the queues agree", async () => {
    await write(1, 100);
    setClock(3_600_000);
    await open();
    await append(1, 100, 20);
    storage = storage.kill();
    await leave();
    // On the device: what was there an hour ago, and RocketMQ's margin of 3 s.
    setCheckpoint(Date.now() - 3_600_000 + 3_001);
    const report = await reopen();
    expect(report.repairs).toEqual([]);
    const lastOldFile = Math.floor(positionOf(99) / FILE_BYTES) * FILE_BYTES;
    expect(report.scannedBytes).toBeLessThan(names(`${ROOT}/commitlog`).length * FILE_BYTES);
    expect(report.scannedBytes).toBeGreaterThanOrEqual(positionOf(120) - lastOldFile);
    await expectMessages(1, 120);
  });

  it("reads the whole log if a queue does not agree with the checkpoint", async () => {
    await write(2, 100);
    setClock(3_600_000);
    await open();
    await append(2, 100, 20);
    storage = storage.kill();
    await leave();
    setCheckpoint(Date.now() - 3_600_000 + 3_001);
    removeFiles(`${ROOT}/consumequeue/t/1`);
    const report = await reopen();
    expect(report.repairs).toContainEqual(expect.stringMatching(/the whole log was scanned/));
    await expectMessages(2, 120);
  });

  it("cuts at the first bad record when nothing behind it is known to have been on the device", async () => {
    await crash(1, 50);
    const position = positionOf(30);
    flipBit(position + 95);
    const report = await reopen();
    expect(report.truncatedBytes).toBe(positionOf(50) - 2 - position); // the last record ends with two zeros
    expect(report.repairs).toContainEqual(expect.stringMatching(new RegExp(`CRC at byte ${position}; \\d+ bytes`)));
    await expectMessages(1, 30);
  });

  it("does not bring back what it has cut", async () => {
    await crash(1, 50);
    flipBit(positionOf(30) + 95);
    await reopen();
    // Of equal size: the next record ends where an old one begins.
    await append(1, 30, 1);
    storage = storage.kill();
    await leave();
    const report = await reopen();
    expect(report.truncatedBytes).toBe(0);
    await expectMessages(1, 31);
  });

  it("keeps what the checkpoint says was on the device, though something before it is damaged", async () => {
    await crash(1, 50);
    flipBit(positionOf(10) + 95);
    setCheckpoint(Date.now() + 10_000);
    for (const name of names(`${ROOT}/consumequeue/t/0`)) storage.remove(`${ROOT}/consumequeue/t/0/${name}`);
    await reopen();
    expect(engine!.partitionInfo(0).endOffset).toBe(50);
    await expect(read(0, 10)).rejects.toThrow(CorruptDataError);
    expect(await read(0, 49)).toEqual(bodyOf(0, 49));
  });

  it("takes away files of zeros that were made ahead", async () => {
    await crash(1, 50);
    const next = names(`${ROOT}/commitlog`).length * FILE_BYTES;
    storage.open(log(next), "create").truncate(FILE_BYTES);
    storage.open(log(next + FILE_BYTES), "create");
    await reopen();
    await expectMessages(1, 50);
    expect(engine!.recovery.droppedFiles).toBeGreaterThanOrEqual(2);
    await appendAndExpect(1, 50, 100);
  });

  it("goes on when a crash during recovery left the last file cut", async () => {
    await crash(1, 50);
    const last = names(`${ROOT}/commitlog`)
      .filter((name) => Number(name) < positionOf(50))
      .at(-1)!;
    for (const name of names(`${ROOT}/commitlog`)) if (name > last) storage.remove(`${ROOT}/commitlog/${name}`);
    storage.open(`${ROOT}/commitlog/${last}`, "write").truncate(positionOf(50) - Number(last));
    await reopen();
    await expectMessages(1, 50);
    await appendAndExpect(1, 50, 100);
  });

  it("believes no consumequeue that ran ahead of the log", async () => {
    await crash(1, 50);
    const end = positionOf(20);
    const file = Math.floor(end / FILE_BYTES) * FILE_BYTES;
    overwrite(log(file), end - file, new Uint8Array(FILE_BYTES - (end - file)));
    for (const name of names(`${ROOT}/commitlog`)) {
      if (Number(name) > file) storage.remove(`${ROOT}/commitlog/${name}`);
    }
    const report = await reopen();
    expect(report.truncatedBytes).toBe(0);
    await expectMessages(1, 20);
    await appendAndExpect(1, 20, 50);
  });
});

describe("a directory that RocketMQ wrote", () => {
  it("is scanned without help, and ends at its last record although noise follows", async () => {
    writeForeign([record(0, 0), record(1, 192)], 0x5a);
    const report = await reopen();
    expect(report.rebuiltIndexes).toBe(1);
    expect(engine!.partitionInfo(0)).toMatchObject({ topic: "t", index: 0, startOffset: 0, endOffset: 2 });
    expect(await read(0, 1)).toEqual(new Uint8Array(100).fill(1));
  });

  it("does not get back records that it had discarded", async () => {
    // Messages 0 to 2 were written, 1 and 2 discarded, 1 written again: 2 stands behind it, well-formed and older.
    writeForeign([record(0, 0, 1_000), record(1, 192, 9_000), record(2, 384, 3_000)]);
    const unit = new DataView(new ArrayBuffer(40));
    for (const i of [0, 1]) {
      unit.setInt32(i * 20 + 4, i * 192);
      unit.setInt32(i * 20 + 8, 192);
    }
    storage.makeDirectory(`${ROOT}/consumequeue/t/0`);
    const file = storage.open(`${ROOT}/consumequeue/t/0/00000000000000000000`, "create");
    file.truncate(QUEUE_FILE_BYTES);
    file.write(new Uint8Array(unit.buffer), 0, 40, 0);
    const report = await reopen();
    expect(engine!.partitionInfo(0).endOffset).toBe(2);
    expect(report.repairs).toContainEqual(
      expect.stringMatching(/left behind by an earlier life of the file at byte 384/),
    );
  });

  it("whose head was deleted begins where its log does", async () => {
    const base = FILE_BYTES * 3;
    storage.makeDirectory(`${ROOT}/commitlog`);
    const file = storage.open(log(base), "create");
    file.truncate(FILE_BYTES);
    for (const i of [0, 1]) file.write(record(33 + i, base + i * 192), 0, 192, i * 192);
    await reopen();
    expect(engine!.partitionInfo(0)).toMatchObject({ startOffset: 33, endOffset: 35 });
    expect(names(`${ROOT}/consumequeue/t/0`)).toEqual(["00000000000000000600"]);
    expect(await read(0, 34)).toEqual(new Uint8Array(100).fill(34));
    await close();
    await reopen();
    expect(engine!.partitionInfo(0)).toMatchObject({ startOffset: 33, endOffset: 35 });
  });

  it("with a message of a topic that no directory may be called ends before it", async () => {
    writeForeign([record(0, 0), record(0, 192, 1_000, "../../x")]);
    const report = await reopen();
    expect(report.repairs).toContainEqual(expect.stringMatching(/a message of an impossible topic at byte 192/));
    expect(engine!.partitions().map(({ topic }) => topic)).toEqual(["t"]);
  });

  it("takes a message with the flag of an inner batch but not its property for a message", async () => {
    writeForeign([record(0, 0, 1_000, "t", 0x80), record(1, 192)]);
    await reopen();
    expect(engine!.partitionInfo(0).endOffset).toBe(2);
  });

  it.each([
    [
      "inner batches in the log",
      () => writeForeign([record(0, 0), record(1, 192, 1_000, "t", 0x80, "INNER_NUM\u00012\u0002")]),
      /inner batch/,
    ],
    ["queues of inner batches", () => storage.makeDirectory(`${ROOT}/batchconsumequeue/t/0`), /inner batches/],
    ["light queues", () => storage.makeDirectory(`${ROOT}/consumequeue/%LMQ%a/0`), /light queue/],
  ])("is refused, not mended, when it has %s", async (_, make, message) => {
    make();
    await expect(open()).rejects.toThrow(OpenError);
    await expect(open()).rejects.toThrow(message);
  });

  function writeForeign(records: readonly Uint8Array[], filler = 0): void {
    storage.makeDirectory(`${ROOT}/commitlog`);
    const file = storage.open(log(0), "create");
    file.write(new Uint8Array(FILE_BYTES).fill(filler), 0, FILE_BYTES, 0);
    let at = 0;
    for (const bytes of records) {
      file.write(bytes, 0, bytes.length, at);
      at += bytes.length;
    }
  }

  function record(
    queueOffset: number,
    physicalOffset: number,
    storeTimestampMs = 1_000,
    topic = "t",
    sysFlag = 0,
    properties = "",
  ): Uint8Array {
    const host = { address: Uint8Array.of(10, 0, 0, 1), port: 1 };
    return encodeMessage({
      ...{ queueId: 0, flag: 0, queueOffset, physicalOffset, sysFlag, bornTimestampMs: 1, bornHost: host },
      ...{ storeTimestampMs, storeHost: host, reconsumeTimes: 0, preparedTransactionOffset: 0, topic },
      ...{ body: new Uint8Array(100).fill(queueOffset), properties: Buffer.from(properties) },
    });
  }
});

it("refuses a second opener", async () => {
  await open();
  await expect(open()).rejects.toThrow(/is open in another process/);
});

async function open(): Promise<StorageEngine> {
  const opened = await commitlog.open({ directory: ROOT, storage, heap, settings: SETTINGS, listener: SILENT });
  engine = opened;
  return opened;
}

async function reopen(): Promise<RecoveryReport> {
  return (await open()).recovery;
}

async function close(): Promise<void> {
  await engine!.close();
  engine = undefined;
}

/** The engine of the machine that was killed: its memory goes back to the heap. */
async function leave(): Promise<void> {
  await close();
}

/** A directory with messages in `queueCount` queues, one after the other, closed cleanly. */
async function write(queueCount: number, perQueue: number): Promise<void> {
  await open();
  await engine!.createTopic("t", queueCount);
  await append(queueCount, 0, perQueue);
  await close();
}

/** The same, but killed. */
async function crash(queueCount: number, perQueue: number): Promise<void> {
  await open();
  await engine!.createTopic("t", queueCount);
  await append(queueCount, 0, perQueue);
  storage = storage.kill();
  await leave();
}

async function append(queueCount: number, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    for (let queue = 0; queue < queueCount; queue++) {
      expect(engine!.append(queue, new Message(heap, bodyOf(queue, i)), 5_000 + i)).toBe(true);
    }
    engine!.poll();
  }
  await engine!.flush();
}

async function appendAndExpect(queueCount: number, from: number, count: number): Promise<void> {
  await append(queueCount, from, count);
  await expectMessages(queueCount, from + count);
  await close();
  await reopen();
  await expectMessages(queueCount, from + count);
}

async function expectMessages(queueCount: number, perQueue: number): Promise<void> {
  for (let queue = 0; queue < queueCount; queue++) {
    expect(engine!.partitionInfo(queue)).toMatchObject({ startOffset: 0, endOffset: perQueue });
    const offsets: number[] = [];
    let next = 0;
    while (next < perQueue) {
      const outcome = await engine!.fetch(queue, next, 1_000, ({ offset, value, timestampMs }) => {
        offsets.push(offset);
        expect(Buffer.compare(value!, bodyOf(queue, offset))).toBe(0);
        expect(timestampMs).toBe(5_000 + offset);
      });
      expect(outcome.messageCount).toBeGreaterThan(0);
      next = outcome.nextOffset;
    }
    expect(offsets).toEqual(range(0, perQueue));
  }
}

function text(path: string): string {
  return new TextDecoder().decode(storage.readAll(path));
}

async function read(queue: number, offset: number): Promise<Uint8Array> {
  let value: Uint8Array | undefined;
  await engine!.fetch(queue, offset, 1, (message) => {
    value = message.value!.slice();
  });
  return value!;
}

function bodyOf(queue: number, offset: number): Uint8Array {
  return new Uint8Array(100).fill(queue * 100 + offset);
}

/** Where the Nth record of the log stands. */
function positionOf(index: number): number {
  const perFile = Math.floor((FILE_BYTES - 8) / RECORD_BYTES);
  return Math.floor(index / perFile) * FILE_BYTES + (index % perFile) * RECORD_BYTES;
}

function log(baseOffset: number): string {
  return `${ROOT}/commitlog/${String(baseOffset).padStart(20, "0")}`;
}

function flipBit(position: number): void {
  const file = storage.open(log(Math.floor(position / FILE_BYTES) * FILE_BYTES), "write");
  const byte = new Uint8Array(1);
  file.read(byte, 0, 1, position % FILE_BYTES);
  byte[0]! ^= 4;
  file.write(byte, 0, 1, position % FILE_BYTES);
}

function overwrite(path: string, at: number, bytes: Uint8Array, isNew = false): void {
  const file = storage.open(path, isNew ? "create" : "write");
  if (isNew) file.truncate(QUEUE_FILE_BYTES);
  file.write(bytes, 0, bytes.length, at);
}

function setCheckpoint(timestampMs: number): void {
  const bytes = new DataView(new ArrayBuffer(4_096));
  bytes.setBigInt64(0, BigInt(timestampMs));
  bytes.setBigInt64(8, BigInt(timestampMs));
  storage.open(`${ROOT}/checkpoint`, "write").write(new Uint8Array(bytes.buffer), 0, 4_096, 0);
}

function setClock(aheadMs: number): void {
  const now = Date.now;
  vi.spyOn(Date, "now").mockImplementation(() => now() + aheadMs);
}

function names(directory: string): string[] {
  return storage.list(directory).map(({ name }) => name);
}

function removeFiles(directory: string): void {
  for (const name of names(directory)) storage.remove(`${directory}/${name}`);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

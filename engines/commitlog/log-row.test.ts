import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EngineListener, Message, type StorageEngine } from "../engine.js";
import { CorruptDataError } from "../errors.js";
import { heap } from "../heap.js";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { seededRandom } from "../storage/seeded-random.js";
import { commitlog } from "./index.js";
import { LOST_PART_HEADER_BYTES } from "./lost-part.js";

const ROOT = "/store";
const FILE_BYTES = 4_096;
/** Of a record of topic `t` with a body of 100 bytes, a key of 2, and a checksum of all of it. */
const RECORD_BYTES = 91 + 1 + 100 + "KEYS=kk;".length + "__CRC32#=0123456789;".length;
const PER_FILE = Math.floor((FILE_BYTES - 8) / RECORD_BYTES);
const FILES = 6;
/** The last file is half full. */
const MESSAGES = PER_FILE * FILES - Math.floor(PER_FILE / 2);
const QUEUES = 2;
const SETTINGS = {
  segmentSizeBytes: FILE_BYTES,
  consumequeueFileSizeBytes: 200,
  keyIndexSlots: 50,
  keyIndexItems: 60,
  appendPropertyCrc: true,
  forceVerifyPropertyCrc: true,
};
const SILENT: EngineListener = { acknowledged() {}, failed() {} };

let storage: FaultyStorage;
let engine: StorageEngine;

beforeEach(() => {
  storage = new FaultyStorage();
});

afterEach(async () => {
  await engine.close();
});

describe.each(["closed", "killed"] as const)("a store that was %s", (end) => {
  it("whose file in the middle is missing keeps what is before and behind it", async () => {
    await write(end);
    storage.remove(log(2));
    await open();
    expect(engine.recovery.repairs).toContainEqual(expect.stringContaining(`${log(2)}: missing; made again`));
    expect(engine.recovery.repairs).toContainEqual(
      expect.stringMatching(/messages lost with a part of the log at byte 8192; the 4096 bytes/),
    );
    await expectAllBut((i) => fileOf(i) === 2);
    await expectToStay((i) => fileOf(i) === 2);
  });

  it("of which several files in a row are missing keeps the others", async () => {
    await write(end);
    for (const file of [1, 2, 4]) storage.remove(log(file));
    await open();
    await expectAllBut((i) => [1, 2, 4].includes(fileOf(i)));
    await expectToStay((i) => [1, 2, 4].includes(fileOf(i)));
  });

  it.each([0, 1, 8, 150, 3 * RECORD_BYTES, FILE_BYTES - 9, FILE_BYTES - 1])(
    "whose file in the middle was cut to %i bytes loses what was there, and nothing else",
    async (sizeBytes) => {
      await write(end);
      storage.open(log(3), "write").truncate(sizeBytes);
      await open();
      expect(engine.recovery.repairs).toContainEqual(expect.stringContaining(`cut short to ${sizeBytes} bytes`));
      const isLost = (i: number) => fileOf(i) === 3 && ((i % PER_FILE) + 1) * RECORD_BYTES > sizeBytes;
      await expectAllBut(isLost);
      await expectToStay(isLost);
    },
  );

  it("whose files are longer than they should be is cut to its size, and loses nothing", async () => {
    await write(end);
    for (const file of [1, FILES - 1]) storage.open(log(file), "write").write(Buffer.alloc(99, 7), 0, 99, FILE_BYTES);
    await open();
    expect(engine.recovery.repairs).toContainEqual(
      expect.stringMatching(/4195 bytes where 4096 belong; the 99 behind/),
    );
    await expectAllBut(() => false);
    await expectToStay(() => false);
  });

  it("whose only file was cut is extended, and the log cut where its messages end", async () => {
    await write(end, PER_FILE);
    const kept = 5;
    if (storage.exists(log(1))) storage.remove(log(1));
    storage.open(log(0), "write").truncate(kept * RECORD_BYTES + 17);
    await open();
    expect(storage.open(log(0), "read").sizeBytes()).toBe(FILE_BYTES);
    await expectAllBut((i) => i >= kept, kept);
  });

  it("finds by key what is left", async () => {
    await write(end);
    storage.remove(log(2));
    await open();
    for (let i = 0; i < MESSAGES; i++) {
      const found: number[] = [];
      await engine.messagesByKey!(
        "t",
        keyOf(i),
        { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, maxMessages: 10 },
        ({ offset }) => {
          found.push(offset);
        },
      );
      expect(found).toEqual(fileOf(i) === 2 ? [] : [offsetOf(i)]);
    }
  });
});

it("what a clean shutdown left and lost its first file since is said to have, and begins behind it", async () => {
  await write("closed");
  storage.remove(log(0));
  await open();
  expect(engine.recovery.repairs).toContainEqual(
    expect.stringMatching(/commitlog: begins at byte 4096, though a clean shutdown left it beginning at byte 0/),
  );
  for (let queue = 0; queue < QUEUES; queue++) {
    const { startOffset, endOffset } = engine.partitionInfo(queue);
    expect(startOffset).toBe(Math.ceil((PER_FILE - queue) / QUEUES));
    for (let offset = startOffset; offset < endOffset; offset++) expect(await read(queue, offset)).toBe("right");
  }
});

it.each(Array.from({ length: 60 }, (_, seed) => seed))(
  "whatever files are lost, shortened or lengthened, what is sound is read and what is lost is refused (seed %i)",
  async (seed) => {
    const random = seededRandom(seed);
    await write(random() < 0.5 ? "closed" : "killed");
    /** Of each file what is left of it. */
    const left: number[] = Array(FILES).fill(FILE_BYTES);
    for (let file = 1; file < FILES - 1; file++) {
      const choice = random();
      if (choice < 0.25) {
        storage.remove(log(file));
        left[file] = 0;
      } else if (choice < 0.5) {
        left[file] = Math.floor(random() * FILE_BYTES);
        storage.open(log(file), "write").truncate(left[file]!);
      } else if (choice < 0.6) {
        storage.open(log(file), "write").write(Buffer.alloc(50, 3), 0, 50, FILE_BYTES);
      }
    }
    const isLost = (i: number) => ((i % PER_FILE) + 1) * RECORD_BYTES > left[fileOf(i)]!;
    await open();
    await expectAllBut(isLost);
    await expectToStay(isLost);
  },
);

it.each(["killed", "cut off from power"] as const)(
  "an opening that is %s at any moment while it mends loses nothing more",
  async (how) => {
    await write("killed");
    storage.remove(log(1));
    storage.open(log(3), "write").truncate(3 * RECORD_BYTES + 20);
    const images: FaultyStorage[] = [];
    storage = storage.kill();
    const mending = storage;
    mending.fault = () => {
      images.push(how === "killed" ? mending.kill() : mending.powerCut(images.length));
      return null;
    };
    await open();
    mending.fault = () => null;
    await engine.close();
    expect(images.length).toBeGreaterThan(50);
    for (const image of images) {
      storage = image;
      await open();
      await expectAllBut((i) => fileOf(i) === 1 || (fileOf(i) === 3 && i % PER_FILE >= 3));
      await engine.close();
    }
  },
);

it("a lost part is stepped over as the blank that ends a file", async () => {
  await write("closed");
  storage.remove(log(2));
  storage.open(log(3), "write").truncate(3 * RECORD_BYTES + 20);
  await open();
  await engine.close();
  const headerAt = (file: number, at: number) =>
    Buffer.from(storage.readAll(log(file)))
      .subarray(at, at + LOST_PART_HEADER_BYTES)
      .toString("latin1");
  const header = (left: number) => {
    const bytes = Buffer.from("\0\0\0\0\xcb\xd4\x31\x94lostpart", "latin1");
    bytes.writeInt32BE(left, 0);
    return bytes.toString("latin1");
  };
  expect(headerAt(2, 0)).toBe(header(FILE_BYTES));
  expect(headerAt(3, 3 * RECORD_BYTES)).toBe(header(FILE_BYTES - 3 * RECORD_BYTES));
});

async function open(): Promise<void> {
  engine = await commitlog.open({ directory: ROOT, storage, heap, settings: SETTINGS, listener: SILENT });
}

/** Messages in turn for each queue. */
async function write(end: "closed" | "killed", messageCount = MESSAGES): Promise<void> {
  await open();
  await engine.createTopic("t", QUEUES);
  for (let i = 0; i < messageCount; i++) append(i);
  await engine.flush();
  const image = storage.kill();
  await engine.close();
  if (end === "killed") storage = image;
}

function append(i: number): void {
  engine.append(i % QUEUES, new Message(heap, Buffer.from(bodyOf(i)), Buffer.from(keyOf(i))), i);
  engine.poll();
}

/** Every message but the lost ones is read as it was written; a lost one is refused. */
async function expectAllBut(isLost: (i: number) => boolean, messageCount = MESSAGES): Promise<void> {
  for (let i = 0; i < messageCount; i++) {
    const found = await read(i % QUEUES, offsetOf(i));
    expect([i, found]).toEqual([i, isLost(i) ? "refused" : "right"]);
  }
  expect(engine.partitions().reduce((sum, { endOffset }) => sum + endOffset, 0)).toBe(messageCount);
}

/** The same after appending, closing and opening twice: nothing is left to mend, the log is not read, and after a crash. */
async function expectToStay(isLost: (i: number) => boolean): Promise<void> {
  for (let i = MESSAGES; i < MESSAGES + 20; i++) append(i);
  await engine.flush();
  await engine.close();
  await open();
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: true, scannedBytes: 0, repairs: [] });
  await expectAllBut(isLost, MESSAGES + 20);
  const image = storage.kill();
  await engine.close();
  storage = image;
  await open();
  expect(engine.recovery).toMatchObject({ wasCleanShutdown: false, truncatedBytes: 0 });
  await expectAllBut(isLost, MESSAGES + 20);
}

async function read(queue: number, offset: number): Promise<"right" | "refused"> {
  try {
    await engine.fetch(queue, offset, 1, ({ value }) => {
      expect(Buffer.from(value!).toString()).toBe(bodyOf(offset * QUEUES + queue));
    });
    return "right";
  } catch (error) {
    expect(error).toBeInstanceOf(CorruptDataError);
    return "refused";
  }
}

function bodyOf(i: number): string {
  return `${i};`.repeat(100).slice(0, 100);
}

function keyOf(i: number): string {
  return i.toString(36).padStart(2, "0");
}

function offsetOf(i: number): number {
  return Math.floor(i / QUEUES);
}

function fileOf(i: number): number {
  return Math.floor(i / PER_FILE);
}

function log(file: number): string {
  return `${ROOT}/commitlog/${String(file * FILE_BYTES).padStart(20, "0")}`;
}

import { beforeEach, describe, expect, it } from "vitest";
import { FaultyStorage } from "../storage/faulty-storage.js";
import { Consumequeue } from "./consumequeue.js";
import { encodeUnit, PRE_BLANK_SIZE, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";
import { OpenFiles } from "./open-files.js";

const UNITS_PER_FILE = 10;
const FILE_SIZE_BYTES = UNITS_PER_FILE * UNIT_SIZE_BYTES;

let storage: FaultyStorage;
let queue: Consumequeue;

beforeEach(() => {
  storage = new FaultyStorage();
  queue = open();
});

describe("appending", () => {
  it("writes unit N at byte N * 20 of a row of full-size files named by their first byte", () => {
    append(0, 25);
    expect(storage.list("/q").map(({ name }) => name)).toEqual([
      "00000000000000000000",
      "00000000000000000200",
      "00000000000000000400",
    ]);
    for (const { name } of storage.list("/q")) expect(storage.readAll(`/q/${name}`)).toHaveLength(FILE_SIZE_BYTES);
    expect(positions(0, 25)).toEqual(numbers(0, 25));
    expect(queue.unitAt(25)).toEqual({ physicalOffset: 0, sizeBytes: 0, tagsCode: 0 });
    expect(queue.unitAt(30)).toBeUndefined();
    expect(queue.writtenUnits).toBe(25);
  });

  it("reads up to the end of a file at a time", () => {
    append(0, 25);
    const target = new Uint8Array(400);
    expect(queue.read(3, 20, target, 0)).toBe(7);
    expect(queue.read(10, 20, target, 0)).toBe(10);
    expect(queue.read(40, 1, target, 0)).toBe(0);
  });

  it("goes on behind what a reopened queue holds", () => {
    append(0, 12);
    queue = open();
    expect(queue.load()).toEqual([]);
    queue.writtenUnits = 12;
    append(12, 20);
    expect(positions(0, 20)).toEqual(numbers(0, 20));
  });

  it("survives a power cut once it was synced", async () => {
    storage.syncDirectory("/");
    queue.makeDirectory();
    storage.syncDirectory("/");
    append(0, 12);
    expect(queue.isSynced).toBe(false);
    await queue.sync();
    expect(queue.isSynced).toBe(true);
    storage = storage.powerCut(1);
    queue = open();
    queue.load();
    expect(positions(0, 12)).toEqual(numbers(0, 12));
  });

  it("in recovery writes only what is not there", () => {
    append(0, 12);
    queue.hasChanged = false;
    queue.comparesFirst = true;
    queue.writtenUnits = 0;
    const { writeCalls } = storage.counters;
    append(0, 12);
    expect([queue.hasChanged, storage.counters.writeCalls]).toEqual([false, writeCalls]);
    append(12, 13);
    expect(queue.hasChanged).toBe(true);
  });

  it("in recovery reads ahead, and believes nothing of what was cut or is wrong", () => {
    append(0, 35);
    append(0, 1); // unit 35 points where unit 0 does
    queue.hasChanged = false;
    queue.comparesFirst = true;
    queue.writtenUnits = 0;
    const { readCalls } = storage.counters;
    for (let unit = 0; unit < 20; unit++) append(unit, unit + 1);
    expect(storage.counters.readCalls - readCalls).toBeLessThan(10);
    append(20, 22);
    queue.cutAt(22);
    for (let unit = 22; unit < 36; unit++) append(unit, unit + 1);
    expect(positions(0, 36)).toEqual(numbers(0, 36));
    queue.writtenUnits = 30;
    queue.hasChanged = false;
    append(30, 33);
    expect(queue.hasChanged).toBe(false);
    append(0, 1);
    append(34, 36);
    expect(queue.hasChanged).toBe(true);
    expect(positions(33, 36)).toEqual([0, 34, 35]);
  });
});

describe("loading", () => {
  it("names files of another size or kind", () => {
    append(0, 12);
    storage.open("/q/00000000000000000200", "write").truncate(100);
    storage.open("/q/00000000000000000333", "create").truncate(FILE_SIZE_BYTES);
    storage.open("/q/readme", "create");
    queue = open();
    expect(queue.load()).toEqual(["00000000000000000200", "00000000000000000333", "readme"]);
  });
});

describe("cutting", () => {
  it("drops the files behind and leaves zeros in its own", () => {
    append(0, 35);
    expect(queue.cutAt(13)).toEqual({ hadUnits: true, droppedFiles: 2 });
    expect(positions(0, 13)).toEqual(numbers(0, 13));
    expect(numbers(13, 20).map((unit) => queue.unitAt(unit)!.sizeBytes)).toEqual(new Array(7).fill(0));
    append(13, 30);
    expect(positions(0, 30)).toEqual(numbers(0, 30));
  });

  it("says when there was nothing to cut", () => {
    append(0, 13);
    expect(queue.cutAt(13)).toEqual({ hadUnits: false, droppedFiles: 0 });
    expect(queue.dropAll()).toBe(2);
    expect(queue.hasFiles).toBe(false);
  });
});

describe("a queue whose head was never here", () => {
  it("begins with blanks that are not messages", () => {
    queue.startAt(23);
    append(23, 27);
    expect(storage.list("/q").map(({ name }) => name)).toEqual(["00000000000000000400"]);
    expect(queue.unitAt(22)).toEqual({ physicalOffset: 0, sizeBytes: PRE_BLANK_SIZE, tagsCode: 0 });
    expect(positions(23, 27)).toEqual(numbers(23, 27));
    expect(queue.findFirst(({ physicalOffset }) => physicalOffset >= 0)).toBe(23);
  });

  it("begins anew where its files do not reach", () => {
    append(0, 12);
    queue.startAt(11);
    expect(queue.writtenUnits).toBe(11);
    queue.startAt(45);
    expect(storage.list("/q").map(({ name }) => name)).toEqual(["00000000000000000800"]);
    queue.startAt(5);
    expect(storage.list("/q").map(({ name }) => name)).toEqual(["00000000000000000000"]);
  });
});

it.each([0, 1, 9, 10, 11, 24, 25])("finds the first unit at or behind a position (%d of 25)", (unit) => {
  append(0, 25);
  expect(queue.findFirst(({ physicalOffset }) => physicalOffset >= unit * 100)).toBe(unit);
});

function open(): Consumequeue {
  return new Consumequeue(storage, new OpenFiles(storage, 2), "/q", FILE_SIZE_BYTES, { indexBytes: 0 });
}

/** Appends units `from` to `to`; unit N points at byte N * 100. */
function append(from: number, to: number): void {
  const bytes = new Uint8Array((to - from) * UNIT_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  for (let unit = from; unit < to; unit++) {
    encodeUnit({ physicalOffset: unit * 100, sizeBytes: 100, tagsCode: -unit }, view, (unit - from) * UNIT_SIZE_BYTES);
  }
  queue.append(bytes, 0, to - from);
}

function positions(from: number, to: number): number[] {
  return numbers(from, to).map((unit) => queue.unitAt(unit)!.physicalOffset / 100);
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

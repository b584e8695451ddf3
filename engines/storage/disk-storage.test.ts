import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { heap } from "../heap.js";
import { InvariantError } from "../invariant.js";
import { DiskStorage } from "./disk-storage.js";

let directory: string;
let storage: DiskStorage;
const at = (name: string) => path.join(directory, name);

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "logduel-disk-"));
  storage = new DiskStorage();
});
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

function placed(text: string): { address: number; sizeBytes: number } {
  const bytes = heap.place(Buffer.from(text));
  return { address: heap.addressOf(bytes), sizeBytes: bytes.byteLength };
}

describe("DiskStorage files", () => {
  it("writes and reads heap bytes at positions, short only at the end of the file", () => {
    const file = storage.open(at("a"), "create");
    const { address, sizeBytes } = placed("hello, disk");
    file.write(heap.bytes, address, sizeBytes, 5);
    expect(file.sizeBytes()).toBe(16);
    const target = new Uint8Array(64);
    expect(file.read(target, 1, 63, 5)).toBe(11);
    expect(Buffer.from(target.subarray(1, 12)).toString()).toBe("hello, disk");
    expect(file.read(target, 0, 4, 16)).toBe(0);
    file.close();
    expect(fs.readFileSync(at("a")).subarray(0, 5)).toEqual(Buffer.alloc(5));
  });

  it("opens by mode: create only what is not there, write and read only what is", () => {
    storage.open(at("a"), "create").close();
    expect(() => storage.open(at("a"), "create")).toThrow(/EEXIST/);
    expect(() => storage.open(at("b"), "write")).toThrow(/ENOENT/);
    expect(() => storage.open(at("b"), "read")).toThrow(/ENOENT/);
    const file = storage.open(at("a"), "read");
    expect(() => file.write(new Uint8Array(1), 0, 1, 0)).toThrow(/EBADF.*\/a'/);
    file.close();
    expect(() => file.sizeBytes()).toThrow(InvariantError);
  });

  it("names the file in the error of a call on a descriptor", () => {
    const full = storage.open("/dev/full", "write");
    try {
      full.write(new Uint8Array(10), 0, 10, 0);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC", path: "/dev/full" });
      expect(String(error)).toContain("'/dev/full'");
    } finally {
      full.close();
    }
  });

  it("reserves blocks without changing content, and truncates", () => {
    const file = storage.open(at("a"), "create");
    file.write(Buffer.from("abc"), 0, 3, 0);
    file.allocate(1 << 20);
    expect(file.sizeBytes()).toBe(1 << 20);
    expect(fs.statSync(at("a")).blocks * 512).toBeGreaterThanOrEqual(1 << 20);
    file.truncate(3);
    expect(fs.readFileSync(at("a"), "utf8")).toBe("abc");
    file.close();
  });

  it("tells where a sparse file's data is, so that holes need not be read", () => {
    const file = storage.open(at("sparse"), "create");
    expect(file.dataFrom(0)).toBeNull();
    const [first, second, sizeBytes] = [1 << 20, 3 << 20, 2 ** 40];
    for (const position of [first, second]) file.write(Buffer.from("data"), 0, 4, position);
    file.truncate(sizeBytes);
    file.syncNow();
    const found: { from: number; to: number }[] = [];
    for (let data = file.dataFrom(0); data !== null; data = file.dataFrom(data.to)) found.push(data);
    // All that is not zero lies in what it tells of, whatever the filesystem knows of holes.
    for (const position of [first, second]) {
      expect(found.some(({ from, to }) => from <= position && to >= position + 4)).toBe(true);
    }
    expect(file.dataFrom(sizeBytes)).toBeNull();
    expect(file.dataFrom(first + 2)!.from).toBe(first + 2);
    file.close();
  });

  it("finishes a sync that is under way when the file is closed", async () => {
    const file = storage.open(at("a"), "create");
    file.write(Buffer.from("abc"), 0, 3, 0);
    const synced = file.sync();
    file.close();
    await synced;
    expect(() => file.sync()).toThrow(InvariantError);
  });
});

describe("DiskStorage directories", () => {
  it("lists sorted with kinds, renames, removes, replaces", () => {
    storage.makeDirectory(at("d/e"));
    storage.makeDirectory(at("d/e"));
    for (const name of ["z", "B", "a"]) storage.open(at(`d/${name}`), "create").close();
    fs.symlinkSync("/nowhere", at("d/link"));
    expect(storage.list(at("d"))).toEqual([
      { name: "B", kind: "file" },
      { name: "a", kind: "file" },
      { name: "e", kind: "directory" },
      { name: "link", kind: "other" },
      { name: "z", kind: "file" },
    ]);
    storage.rename(at("d/z"), at("d/y"));
    storage.syncDirectory(at("d"));
    expect(storage.exists(at("d/z"))).toBe(false);
    expect(storage.exists(at("d/y"))).toBe(true);
    expect(() => storage.removeDirectory(at("d"))).toThrow(/ENOTEMPTY/);
    storage.remove(at("d/y"));
    expect(() => storage.remove(at("d/y"))).toThrow(/ENOENT/);
    fs.writeFileSync(at("d/a.tmp"), "left over from a crash");
    storage.replaceAll(at("d/a"), Buffer.from("new"));
    expect(Buffer.from(storage.readAll(at("d/a"))).toString()).toBe("new");
    expect(storage.exists(at("d/a.tmp"))).toBe(false);
    expect(storage.freeBytes(directory)).toBeGreaterThan(0);
  });

  it("counts exactly", async () => {
    const file = storage.open(at("a"), "create");
    file.write(new Uint8Array(100), 0, 100, 0);
    file.read(new Uint8Array(60), 0, 60, 0);
    file.syncNow();
    await file.sync();
    file.close();
    storage.syncDirectory(directory);
    storage.remove(at("a"));
    expect(storage.counters).toEqual({
      writeCalls: 1,
      writtenBytes: 100,
      readCalls: 1,
      readBytes: 60,
      syncCalls: 3,
      filesOpened: 1,
      filesCreated: 1,
      filesDeleted: 1,
    });
  });

  it("locks against this process and another, until released", async () => {
    const lock = storage.lock(at(".lock"));
    expect(lock).not.toBeNull();
    expect(storage.lock(at(".lock"))).toBeNull();
    expect(storage.isLocked(at(".lock"))).toBe(true);
    const script = `import { DiskStorage } from ${JSON.stringify(new URL("./disk-storage.js", import.meta.url).href)};
      process.exit(new DiskStorage().lock(${JSON.stringify(at(".lock"))}) === null ? 7 : 8);`;
    const tryInChild = async () => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
      return (await once(child, "exit"))[0] as number;
    };
    expect(await tryInChild()).toBe(7);
    lock!.release();
    expect(storage.isLocked(at(".lock"))).toBe(false);
    expect(await tryInChild()).toBe(8);
    storage.lock(at(".lock"))!.release();
  });
});

describe("DiskStorage mappings", () => {
  it("maps over a heap window: stores reach the file, and the window becomes zero memory again", async () => {
    const sizeBytes = 3 * 65_536 + 100;
    const window = heap.reserveWindow(sizeBytes);
    const file = storage.open(at("m"), "create");
    file.allocate(sizeBytes);
    file.write(Buffer.from("before"), 0, 6, 65_536);
    const region = file.map(window, sizeBytes, 0);
    await region.populate(0, sizeBytes);
    expect(Buffer.from(heap.bytes.slice(window + 65_536, window + 65_542)).toString()).toBe("before");
    heap.bytes.set(Buffer.from("stored"), window + sizeBytes - 6);
    const target = new Uint8Array(6);
    file.read(target, 0, 6, sizeBytes - 6);
    expect(Buffer.from(target).toString()).toBe("stored");
    file.close();
    await region.sync(65_536, sizeBytes - 65_536);
    region.unmap();
    region.unmap();
    heap.bytes.fill(0xff, window, window + 4 * 65_536);
    const content = fs.readFileSync(at("m"));
    expect(content.byteLength).toBe(sizeBytes);
    expect(content.subarray(-6).toString()).toBe("stored");
    expect(content.subarray(0, 65_536)).toEqual(Buffer.alloc(65_536));
    heap.release(window);
  });

  it("keeps what is stored before and during a sync, in the mapping and in the file", async () => {
    const sizeBytes = 4 * 65_536;
    const window = heap.reserveWindow(sizeBytes);
    const file = storage.open(at("m"), "create");
    file.allocate(sizeBytes);
    const region = file.map(window, sizeBytes, 0);
    const expected = new Uint8Array(sizeBytes);
    for (let round = 1; round <= 20; round++) {
      const store = (position: number) => {
        heap.bytes[window + position] = round;
        expected[position] = round;
      };
      for (let position = round; position < sizeBytes; position += 4_096) store(position);
      const synced = region.sync(65_536, 2 * 65_536);
      for (let position = round + 100; position < sizeBytes; position += 4_096) store(position);
      await synced;
      expect(heap.bytes.slice(window, window + sizeBytes)).toEqual(expected);
    }
    region.unmap();
    file.close();
    expect(new Uint8Array(fs.readFileSync(at("m")))).toEqual(expected);
    heap.release(window);
  });

  it("maps a part of a file", () => {
    const window = heap.reserveWindow(65_536);
    const file = storage.open(at("m"), "create");
    file.truncate(3 * 65_536);
    file.write(Buffer.from("x"), 0, 1, 65_536);
    const region = file.map(window, 65_536, 65_536);
    expect(heap.bytes[window]).toBe("x".charCodeAt(0));
    region.unmap();
    expect(heap.bytes[window]).toBe(0);
    file.close();
    heap.release(window);
  });

  it("refuses to map what the file does not hold", () => {
    const window = heap.reserveWindow(65_536);
    const file = storage.open(at("m"), "create");
    file.truncate(65_535);
    expect(() => file.map(window, 65_536, 0)).toThrow(InvariantError);
    expect(() => file.map(window + 16, 100, 0)).toThrow(InvariantError);
    file.close();
    heap.release(window);
  });

  it("populating changes no byte, and stops when the region is unmapped", async () => {
    const sizeBytes = 40 << 20;
    const window = heap.reserveWindow(sizeBytes);
    const file = storage.open(at("m"), "create");
    file.allocate(sizeBytes);
    file.write(Buffer.from("keep"), 0, 4, 20 << 20);
    const region = file.map(window, sizeBytes, 0);
    await region.populate(100, (20 << 20) + 8);
    expect(Buffer.from(heap.bytes.slice(window + (20 << 20), window + (20 << 20) + 4)).toString()).toBe("keep");
    const rest = region.populate(0, sizeBytes);
    region.unmap();
    await rest;
    file.close();
    heap.release(window);
  });
});

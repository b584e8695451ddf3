import { describe, expect, it } from "vitest";
import { heap } from "../heap.js";
import { InvariantError } from "../invariant.js";
import { FaultyStorage } from "./faulty-storage.js";

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

/** A storage with a durable directory /d. */
function prepared(): FaultyStorage {
  const storage = new FaultyStorage(heap);
  storage.makeDirectory("/d");
  storage.syncDirectory("/");
  return storage;
}

/** A storage with a file of `content`, all durable. */
function withFile(content: Uint8Array) {
  const storage = prepared();
  const file = storage.open("/d/f", "create");
  file.write(content, 0, content.byteLength, 0);
  file.syncNow();
  storage.syncDirectory("/d");
  return { storage, file };
}

describe("FaultyStorage as a storage", () => {
  it("reads what was written, and knows names, kinds and errors", () => {
    const { storage, file } = withFile(Buffer.from("hello"));
    file.write(Buffer.from("xyz"), 1, 2, 7);
    const target = new Uint8Array(20);
    expect(file.read(target, 2, 18, 1)).toBe(8);
    expect(text(target.subarray(2, 10))).toBe("ello\0\0yz");
    file.truncate(4);
    file.allocate(6);
    expect(text(storage.readAll("/d/f"))).toBe("hell\0\0");
    storage.makeDirectory("/d/a/b");
    expect(storage.list("/d")).toEqual([
      { name: "a", kind: "directory" },
      { name: "f", kind: "file" },
    ]);
    expect(() => storage.removeDirectory("/d/a")).toThrow(/ENOTEMPTY/);
    storage.rename("/d/a", "/d/c");
    expect(storage.exists("/d/c/b")).toBe(true);
    expect(storage.exists("/d/a/b")).toBe(false);
    storage.replaceAll("/d/f", Buffer.from("new"));
    expect(text(storage.readAll("/d/f"))).toBe("new");
    expect(() => storage.open("/d/f", "create")).toThrow(/EEXIST/);
    expect(() => storage.open("/d/g", "write")).toThrow(/ENOENT/);
    expect(() => storage.open("/e/f", "create")).toThrow(/ENOENT/);
    const reader = storage.open("/d/f", "read");
    expect(() => reader.write(new Uint8Array(1), 0, 1, 0)).toThrow(/EBADF/);
    reader.close();
    expect(() => reader.sizeBytes()).toThrow(InvariantError);
    const lock = storage.lock("/d/.lock");
    expect(storage.lock("/d/.lock")).toBeNull();
    expect(storage.isLocked("/d/.lock")).toBe(true);
    lock!.release();
    expect(storage.isLocked("/d/.lock")).toBe(false);
    expect(storage.lock("/d/.lock")).not.toBeNull();
  });

  it("fails the calls that it is told to fail, with code and path; a failed write has written half", async () => {
    const { storage, file } = withFile(Buffer.from("aaaa"));
    storage.fault = ({ operation, sizeBytes }) =>
      operation === "sync" ? "EIO" : operation === "write" && sizeBytes > 4 ? "ENOSPC" : null;
    await expect(file.sync()).rejects.toMatchObject({ code: "EIO", path: "/d/f" });
    expect(() => file.syncNow()).toThrow(/EIO/);
    file.write(Buffer.from("bbbb"), 0, 4, 0);
    expect(() => file.write(Buffer.from("cccccc"), 0, 6, 0)).toThrow(/ENOSPC/);
    expect(text(storage.readAll("/d/f"))).toBe("cccb");
    expect(storage.counters).toMatchObject({ writeCalls: 3, writtenBytes: 4 + 4 + 3, syncCalls: 5 });
  });

  it("shows stores into a window to readers, and writes to the window; the same page may be mapped twice", () => {
    const { storage, file } = withFile(Buffer.alloc(3 * 65_536, "."));
    const first = heap.reserveWindow(2 * 65_536);
    const second = heap.reserveWindow(2 * 65_536);
    const a = file.map(first, 2 * 65_536, 0);
    const b = file.map(second, 2 * 65_536, 65_536);
    heap.bytes.set(Buffer.from("one"), first + 65_536 + 10);
    heap.bytes.set(Buffer.from("two"), second + 20);
    file.write(Buffer.from("three"), 0, 5, 65_536 + 30);
    expect(text(storage.readAll("/d/f").subarray(65_536 + 9, 65_536 + 36))).toBe(".one.......two.......three.");
    expect(text(heap.bytes.slice(first + 65_536 + 20, first + 65_536 + 23))).toBe("two");
    expect(text(heap.bytes.slice(second + 10, second + 13))).toBe("one");
    expect(() => file.truncate(65_536)).toThrow(InvariantError);
    a.unmap();
    expect(heap.bytes[first + 65_536 + 10]).toBe(0);
    heap.bytes.set(Buffer.from("more"), second);
    b.unmap();
    expect(text(storage.readAll("/d/f").subarray(65_536, 65_540))).toBe("more");
    heap.release(first);
    heap.release(second);
  });
});

describe("a kill", () => {
  it("leaves all that was written or stored, and frees the locks", () => {
    const { storage, file } = withFile(Buffer.alloc(65_536));
    storage.lock("/d/.lock");
    const window = heap.reserveWindow(65_536);
    const region = file.map(window, 65_536, 0);
    heap.bytes.set(Buffer.from("stored"), window + 100);
    file.write(Buffer.from("written"), 0, 7, 200);
    const after = storage.kill();
    const content = after.readAll("/d/f");
    expect(text(content.subarray(100, 106))).toBe("stored");
    expect(text(content.subarray(200, 207))).toBe("written");
    expect(after.lock("/d/.lock")).not.toBeNull();
    region.unmap();
    heap.release(window);
  });
});

describe("a power cut", () => {
  it("keeps what was synced, and the storage that was cut goes on", () => {
    const { storage, file } = withFile(Buffer.from("synced"));
    for (const seed of SEEDS) expect(text(storage.powerCut(seed).readAll("/d/f"))).toBe("synced");
    file.write(Buffer.from("SYNCED"), 0, 6, 0);
    storage.powerCut(1);
    expect(text(storage.readAll("/d/f"))).toBe("SYNCED");
    expect(storage.powerCut(7).readAll("/d/f")).toEqual(storage.powerCut(7).readAll("/d/f"));
  });

  it("keeps any subset of the sectors written since, with zeros where the file grew over lost ones", () => {
    const { storage, file } = withFile(Buffer.alloc(1_024, "a"));
    file.write(Buffer.alloc(4_096, "b"), 0, 4_096, 512);
    const images = new Set(SEEDS.map((seed) => text(storage.powerCut(seed).readAll("/d/f"))));
    const sectors = (image: string) => image.match(/.{1,512}/gs)!.map((part) => [...new Set(part)].join(""));
    for (const image of images) {
      expect(sectors(image)[0]).toBe("a");
      for (const sector of sectors(image).slice(1)) expect(["a", "b", "\0"]).toContain(sector);
    }
    expect(images).toContain("a".repeat(1_024));
    expect(images).toContain("a".repeat(512) + "b".repeat(4_096));
    expect([...images].some((image) => /b\0+b/.test(image))).toBe(true);
    expect([...images].some((image) => image.length === 4_608 && image.endsWith("\0"))).toBe(true);
  });

  it("reorders writes", () => {
    const { storage, file } = withFile(new Uint8Array());
    file.write(Buffer.from("1"), 0, 1, 0);
    file.write(Buffer.from("2"), 0, 1, 1);
    const images = new Set(SEEDS.map((seed) => text(storage.powerCut(seed).readAll("/d/f"))));
    for (const image of ["", "1", "12", "\u00002"]) expect(images).toContain(image);
  });

  it("keeps or loses stores into a window page by page", async () => {
    const { storage, file } = withFile(Buffer.alloc(65_536));
    const window = heap.reserveWindow(65_536);
    const region = file.map(window, 65_536, 0);
    heap.bytes.fill(1, window, window + 4_096);
    await region.sync(0, 65_536);
    heap.bytes.fill(2, window, window + 3 * 4_096);
    const images = new Set(
      SEEDS.map((seed) => {
        const content = storage.powerCut(seed).readAll("/d/f");
        const pages = [0, 1, 2].map((page) => new Set(content.subarray(page * 4_096, (page + 1) * 4_096)));
        for (const page of pages) expect(page.size).toBe(1);
        return pages.map((page) => [...page][0]).join("");
      }),
    );
    expect([...images].sort()).toEqual(["100", "102", "120", "122", "200", "202", "220", "222"]);
    region.unmap();
    heap.release(window);
  });

  it("syncs a part of a window: stores elsewhere are not covered", async () => {
    const { storage, file } = withFile(Buffer.alloc(65_536));
    const window = heap.reserveWindow(65_536);
    const region = file.map(window, 65_536, 0);
    heap.bytes.fill(1, window, window + 3 * 4_096);
    await region.sync(4_096, 10);
    heap.bytes.fill(2, window + 2 * 4_096, window + 3 * 4_096);
    await region.sync(2 * 4_096, 4_096);
    const contents = SEEDS.map((seed) => storage.powerCut(seed).readAll("/d/f"));
    expect(new Set(contents.map((content) => [0, 1, 2].map((page) => content[page * 4_096]).join("")))).toEqual(
      new Set(["012", "112"]),
    );
    region.unmap();
    heap.release(window);
  });

  it("counts a sync from its call: what is written while it runs is not covered, and before it ends nothing is", async () => {
    const { storage, file } = withFile(Buffer.from("..."));
    file.write(Buffer.from("1"), 0, 1, 0);
    const synced = file.sync();
    file.write(Buffer.from("2"), 0, 1, 1);
    const lost = (index: number) => SEEDS.some((seed) => storage.powerCut(seed).readAll("/d/f")[index] === 46);
    expect(lost(0)).toBe(true);
    await synced;
    expect(lost(0)).toBe(false);
    expect(lost(1)).toBe(true);
  });

  it("after a failed sync the covered writes never arrive, whatever later syncs say", () => {
    const { storage, file } = withFile(Buffer.from(".."));
    file.write(Buffer.from("1"), 0, 1, 0);
    storage.fault = ({ operation }) => (operation === "sync" ? "EIO" : null);
    expect(() => file.syncNow()).toThrow(/EIO/);
    storage.fault = () => null;
    file.write(Buffer.from("2"), 0, 1, 1);
    file.syncNow();
    expect(text(storage.readAll("/d/f"))).toBe("12");
    for (const seed of SEEDS) expect(text(storage.powerCut(seed).readAll("/d/f"))).toBe(".2");
  });

  it("may lose names whose directory was not synced, the later ones first", () => {
    const { storage } = withFile(Buffer.from("old"));
    storage.replaceAll("/d/f", Buffer.from("new"));
    for (const seed of SEEDS) expect(text(storage.powerCut(seed).readAll("/d/f"))).toBe("new");
    storage.open("/d/x", "create").close();
    storage.rename("/d/x", "/d/y");
    storage.remove("/d/f");
    const names = new Set(
      SEEDS.map((seed) =>
        storage
          .powerCut(seed)
          .list("/d")
          .map(({ name }) => name)
          .join(),
      ),
    );
    expect([...names].sort()).toEqual(["f", "f,x", "f,y", "y"]);
    storage.syncDirectory("/d");
    for (const seed of SEEDS) expect(storage.powerCut(seed).exists("/d/f")).toBe(false);
  });

  it("loses what lies below a directory that is lost, synced or not", () => {
    const storage = prepared();
    storage.makeDirectory("/d/e");
    const file = storage.open("/d/e/f", "create");
    file.write(Buffer.from("x"), 0, 1, 0);
    file.syncNow();
    storage.syncDirectory("/d/e");
    expect(new Set(SEEDS.map((seed) => storage.powerCut(seed).exists("/d/e/f")))).toEqual(new Set([true, false]));
    storage.syncDirectory("/d");
    for (const seed of SEEDS) expect(text(storage.powerCut(seed).readAll("/d/e/f"))).toBe("x");
  });
});

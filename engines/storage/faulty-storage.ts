import { dirname } from "node:path";
import { type Heap, heap as processHeap } from "../heap.js";
import { invariant } from "../invariant.js";
import { zeroCounters } from "./counters.js";
import { FaultyInode, type MappedWindow, WRITE_GRAIN_BYTES } from "./faulty-inode.js";
import { seededRandom } from "./seeded-random.js";
import type {
  DirectoryEntry,
  FileAdvice,
  FileRange,
  MappedRegion,
  Storage,
  StorageFile,
  StorageLock,
} from "./storage.js";

export interface StorageCall {
  readonly operation:
    | "open"
    | "list"
    | "makeDirectory"
    | "removeDirectory"
    | "remove"
    | "rename"
    | "syncDirectory"
    | "readAll"
    | "lock"
    | "write"
    | "read"
    | "sync"
    | "truncate"
    | "allocate"
    | "map"
    | "populate"
    | "advise";
  readonly path: string;
  /** Bytes to write, read or drop, or the size to truncate or allocate to; 0 for other calls. */
  readonly sizeBytes: number;
}

type Node = FaultyInode | "directory";
type Names = Map<string, Node>;

/** A change of names that the device does not hold yet, and the directories it changes. */
interface NameChange {
  readonly directories: readonly string[];
  apply(names: Names): void;
}

const PLENTY_BYTES = 2 ** 40;

/**
 * A device and its page cache in memory, for tests: any call can be made to fail, the power can be cut, and the process
 * can be killed. The model is as harsh as POSIX allows and real systems are known to be:
 *
 * - What a file held at its last finished sync survives a cut. Of each later write any sectors (of 512 or 4 096 bytes)
 *   survive or not, of each page stored into through a mapping all or nothing, in any order; the file may have grown
 *   over sectors that did not arrive.
 * - After a failed sync the changes that it covered never reach the device, whatever later syncs say.
 * - Creations, renames and removals survive if their directory was synced since; of the later ones of each directory
 *   the first so many do. Syncing a file does not make its name durable.
 * - A write that is made to fail has written the first half.
 */
export class FaultyStorage implements Storage {
  readonly counters = zeroCounters();
  readonly syncCoversMappings = true;
  readonly takesAdvice = true;
  /** Asked before every call: an error code (`"EIO"`) makes it fail. It may also cut the power at just that point. */
  fault: (call: StorageCall) => string | null = () => null;
  /** What `openFileLimit` says; not enforced. */
  fileLimit = Number.POSITIVE_INFINITY;

  readonly #names: Names = new Map([["/", "directory"]]);
  readonly #durableNames: Names = new Map([["/", "directory"]]);
  #nameChanges: NameChange[] = [];
  readonly #locked = new Set<string>();

  constructor(private readonly heap: Heap = processHeap) {}

  /** The machine after losing its power now: a storage of its own; this one goes on as if nothing had happened. */
  powerCut(seed: number): FaultyStorage {
    const random = seededRandom(seed);
    const names = new Map(this.#durableNames);
    const left = new Map<string, number>();
    for (const directory of this.#nameChanges.flatMap((change) => change.directories)) {
      left.set(directory, (left.get(directory) ?? 0) + 1);
    }
    for (const [directory, count] of left) left.set(directory, Math.floor(random() * (count + 1)));
    for (const { directories, apply } of this.#nameChanges) {
      if (directories.every((directory) => left.get(directory)! > 0)) apply(names);
      for (const directory of directories) left.set(directory, left.get(directory)! - 1);
    }
    return this.#image(names, (inode) => inode.cutImage(random));
  }

  /** The machine after its process was killed now: the page cache stays. */
  kill(): FaultyStorage {
    return this.#image(this.#names, (inode) => inode.liveImage());
  }

  #image(names: Names, imageOf: (inode: FaultyInode) => Uint8Array): FaultyStorage {
    const image = new FaultyStorage(this.heap);
    const paths = [...names.keys()].sort();
    for (const path of paths) {
      if (path === "/" || !image.#names.has(dirname(path))) continue; // below a directory that is lost
      const node = names.get(path)!;
      const copy = node === "directory" ? node : new FaultyInode(this.heap, imageOf(node));
      image.#names.set(path, copy);
      image.#durableNames.set(path, copy);
    }
    return image;
  }

  open(path: string, mode: "create" | "write" | "read"): StorageFile {
    this.check("open", path);
    const node = this.#names.get(path);
    if (node === "directory") throw failure("EISDIR", "open", path);
    let inode = node;
    if (mode === "create") {
      if (inode !== undefined) throw failure("EEXIST", "open", path);
      inode = this.#create(path);
    }
    if (inode === undefined) throw failure("ENOENT", "open", path);
    this.counters.filesOpened++;
    return new FaultyFile(path, inode, mode !== "read", this);
  }

  exists(path: string): boolean {
    return this.#names.has(path);
  }

  list(path: string): readonly DirectoryEntry[] {
    this.check("list", path);
    this.#directory(path, "scandir");
    return this.#children(path)
      .map((name): DirectoryEntry => {
        const node = this.#names.get(name)!;
        return {
          name: name.slice(path === "/" ? 1 : path.length + 1),
          kind: node === "directory" ? "directory" : "file",
        };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  makeDirectory(path: string): void {
    this.check("makeDirectory", path);
    const node = this.#names.get(path);
    if (node === "directory") return;
    if (node !== undefined) throw failure("EEXIST", "mkdir", path);
    this.makeDirectory(dirname(path));
    this.#change([dirname(path)], (names) => names.set(path, "directory"));
  }

  removeDirectory(path: string): void {
    this.check("removeDirectory", path);
    this.#directory(path, "rmdir");
    if (this.#children(path).length > 0) throw failure("ENOTEMPTY", "rmdir", path);
    this.#change([dirname(path)], (names) => names.delete(path));
  }

  remove(path: string): void {
    this.check("remove", path);
    this.#inode(path, "unlink");
    this.counters.filesDeleted++;
    this.#change([dirname(path)], (names) => names.delete(path));
  }

  async removeAside(path: string): Promise<void> {
    await nextTurn();
    this.remove(path);
  }

  modifiedMs(path: string): number {
    return this.#inode(path, "stat").modifiedMs;
  }

  rename(from: string, to: string): void {
    this.check("rename", from);
    if (!this.#names.has(from)) throw failure("ENOENT", "rename", from);
    this.#directory(dirname(to), "rename");
    const moved = this.#names.get(from)!;
    const target = this.#names.get(to);
    if (target !== undefined && (target === "directory" || moved === "directory")) {
      throw failure("ENOTEMPTY", "rename", to);
    }
    this.#change([...new Set([dirname(from), dirname(to)])], (names) => {
      for (const path of [...names.keys()].filter((path) => path.startsWith(`${from}/`))) {
        names.set(to + path.slice(from.length), names.get(path)!);
        names.delete(path);
      }
      names.delete(from);
      names.set(to, moved);
    });
  }

  syncDirectory(path: string): void {
    this.counters.syncCalls++;
    this.check("syncDirectory", path);
    this.#directory(path, "fsync");
    const [synced, rest] = partition(this.#nameChanges, (change) => change.directories.includes(path));
    for (const change of synced) change.apply(this.#durableNames);
    this.#nameChanges = rest;
  }

  async syncDirectoryAside(path: string): Promise<void> {
    this.counters.syncCalls++;
    this.#directory(path, "fsync");
    const covered = this.#nameChanges.filter((change) => change.directories.includes(path));
    await new Promise((resolve) => setImmediate(resolve)); // a turn of the event loop, as the device would take
    this.check("syncDirectory", path);
    const [synced, rest] = partition(this.#nameChanges, (change) => covered.includes(change));
    for (const change of synced) change.apply(this.#durableNames);
    this.#nameChanges = rest;
  }

  readAll(path: string): Uint8Array {
    this.check("readAll", path);
    const content = this.#inode(path, "open").liveImage();
    this.counters.filesOpened++;
    this.counters.readCalls++;
    this.counters.readBytes += content.byteLength;
    return content;
  }

  replaceAll(path: string, content: Uint8Array): void {
    const temporary = `${path}.tmp`;
    if (this.exists(temporary)) this.#change([dirname(path)], (names) => names.delete(temporary));
    const file = this.open(temporary, "create");
    try {
      file.write(content, 0, content.byteLength, 0);
      file.syncNow();
    } finally {
      file.close();
    }
    this.rename(temporary, path);
    this.syncDirectory(dirname(path));
  }

  lock(path: string): StorageLock | null {
    this.check("lock", path);
    if (!this.#names.has(path)) this.#create(path);
    this.#inode(path, "lock");
    if (this.#locked.has(path)) return null;
    this.#locked.add(path);
    return { release: () => this.#locked.delete(path) };
  }

  isLocked(path: string): boolean {
    this.check("lock", path);
    this.#inode(path, "lock");
    return this.#locked.has(path);
  }

  freeBytes(_path: string): number {
    return PLENTY_BYTES;
  }

  openFileLimit(): number {
    return this.fileLimit;
  }

  /** @throws what `fault` wants */
  check(operation: StorageCall["operation"], path: string, sizeBytes = 0): void {
    const code = this.fault({ operation, path, sizeBytes });
    if (code !== null) throw failure(code, operation, path);
  }

  #create(path: string): FaultyInode {
    this.#directory(dirname(path), "open");
    const inode = new FaultyInode(this.heap);
    this.counters.filesCreated++;
    this.#change([dirname(path)], (names) => names.set(path, inode));
    return inode;
  }

  #change(directories: readonly string[], apply: (names: Names) => void): void {
    apply(this.#names);
    this.#nameChanges.push({ directories, apply });
  }

  #children(path: string): string[] {
    return [...this.#names.keys()].filter((name) => name !== "/" && dirname(name) === path);
  }

  #inode(path: string, syscall: string): FaultyInode {
    const node = this.#names.get(path);
    if (node === undefined) throw failure("ENOENT", syscall, path);
    if (node === "directory") throw failure("EISDIR", syscall, path);
    return node;
  }

  #directory(path: string, syscall: string): void {
    const node = this.#names.get(path);
    if (node === undefined) throw failure("ENOENT", syscall, path);
    if (node !== "directory") throw failure("ENOTDIR", syscall, path);
  }
}

class FaultyFile implements StorageFile {
  readonly descriptor = null;
  #isClosed = false;

  constructor(
    readonly path: string,
    private readonly inode: FaultyInode,
    private readonly isWritable: boolean,
    private readonly storage: FaultyStorage,
  ) {}

  write(source: Uint8Array, at: number, sizeBytes: number, positionBytes: number): void {
    this.#checkOpen("write");
    const { counters } = this.storage;
    counters.writeCalls++;
    const bytes = source.subarray(at, at + sizeBytes);
    invariant(bytes.byteLength === sizeBytes, "what is written lies within its source");
    try {
      this.storage.check("write", this.path, sizeBytes);
    } catch (error) {
      const half = sizeBytes >> 1;
      if (half > 0) this.inode.write(positionBytes, bytes.subarray(0, half), WRITE_GRAIN_BYTES);
      counters.writtenBytes += half;
      throw error;
    }
    if (sizeBytes > 0) this.inode.write(positionBytes, bytes, WRITE_GRAIN_BYTES);
    counters.writtenBytes += sizeBytes;
  }

  read(target: Uint8Array, at: number, sizeBytes: number, positionBytes: number): number {
    this.#checkOpen();
    this.storage.counters.readCalls++;
    this.storage.check("read", this.path, sizeBytes);
    const bytes = this.inode.read(positionBytes, sizeBytes);
    target.set(bytes, at);
    this.storage.counters.readBytes += bytes.byteLength;
    return bytes.byteLength;
  }

  async sync(): Promise<void> {
    this.#checkOpen();
    this.storage.counters.syncCalls++;
    return syncInode(this.inode, () => this.storage.check("sync", this.path));
  }

  syncNow(): void {
    this.#checkOpen();
    this.storage.counters.syncCalls++;
    syncInodeNow(this.inode, () => this.storage.check("sync", this.path));
  }

  sizeBytes(): number {
    this.#checkOpen();
    return this.inode.sizeBytes;
  }

  dataFrom(positionBytes: number): FileRange | null {
    const to = this.sizeBytes();
    return positionBytes < to ? { from: positionBytes, to } : null;
  }

  truncate(sizeBytes: number): void {
    this.#checkOpen("truncate");
    this.storage.check("truncate", this.path, sizeBytes);
    this.inode.resize(sizeBytes);
  }

  allocate(sizeBytes: number): boolean {
    this.#checkOpen("allocate");
    this.storage.check("allocate", this.path, sizeBytes);
    if (sizeBytes > this.inode.sizeBytes) this.inode.resize(sizeBytes);
    return true;
  }

  advise(_advice: FileAdvice, _positionBytes: number, sizeBytes: number): void {
    this.#checkOpen();
    this.storage.check("advise", this.path, sizeBytes);
  }

  map(address: number, sizeBytes: number, positionBytes: number): MappedRegion {
    this.#checkOpen("map");
    this.storage.check("map", this.path, sizeBytes);
    const window = this.inode.map(address, sizeBytes, positionBytes);
    return new FaultyRegion(this.path, window, this.inode, this.storage);
  }

  close(): void {
    this.#isClosed = true;
  }

  #checkOpen(change?: string): void {
    invariant(!this.#isClosed, "a file is not used after it was closed");
    if (change !== undefined && !this.isWritable) throw failure("EBADF", change, this.path);
  }
}

class FaultyRegion implements MappedRegion {
  readonly address: number;
  readonly sizeBytes: number;
  #isMapped = true;
  #syncsUnderWay = 0;

  constructor(
    private readonly path: string,
    private readonly window: MappedWindow,
    private readonly inode: FaultyInode,
    private readonly storage: FaultyStorage,
  ) {
    this.address = window.address;
    this.sizeBytes = window.seen.byteLength;
  }

  async populate(at: number, sizeBytes: number): Promise<void> {
    invariant(at >= 0 && at + sizeBytes <= this.sizeBytes, "only the region's own pages are populated");
    this.storage.check("populate", this.path, sizeBytes);
    await nextTurn();
  }

  async sync(at: number, sizeBytes: number): Promise<void> {
    invariant(this.#isMapped, "a region is not used after it was unmapped");
    invariant(at >= 0 && sizeBytes > 0 && at + sizeBytes <= this.sizeBytes, "only the region's own pages are synced");
    this.storage.counters.syncCalls++;
    this.#syncsUnderWay++;
    const from = this.window.positionBytes + at;
    try {
      await syncInode(this.inode, () => this.storage.check("sync", this.path), from, from + sizeBytes);
    } finally {
      this.#syncsUnderWay--;
    }
  }

  adviseRandomReads(): void {
    this.storage.check("advise", this.path);
  }

  unmap(): void {
    if (!this.#isMapped) return;
    invariant(this.#syncsUnderWay === 0, "a region is not unmapped while it is synced: nothing would be");
    this.#isMapped = false;
    this.inode.unmap(this.window);
  }
}

/** Takes a turn of the event loop, as the device would. */
async function syncInode(inode: FaultyInode, check: () => void, from = 0, to = Infinity): Promise<void> {
  const number = inode.beginSync();
  let error: unknown = null;
  try {
    check();
  } catch (caught) {
    error = caught;
  }
  await nextTurn();
  settleSync(inode, number, error, from, to);
}

function syncInodeNow(inode: FaultyInode, check: () => void): void {
  const number = inode.beginSync();
  let error: unknown = null;
  try {
    check();
  } catch (caught) {
    error = caught;
  }
  settleSync(inode, number, error);
}

function settleSync(inode: FaultyInode, number: number, error: unknown, from = 0, to = Infinity): void {
  if (error === null) {
    inode.finishSync(number, from, to);
  } else {
    inode.loseUnsynced(number, from, to);
    throw error;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function failure(code: string, syscall: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))];
}

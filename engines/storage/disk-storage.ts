import fs from "node:fs";
import { dirname } from "node:path";
import { UnsupportedError } from "../errors.js";
import { type Heap, heap as processHeap } from "../heap.js";
import { invariant } from "../invariant.js";
import { zeroCounters } from "./counters.js";
import {
  adviseFile,
  adviseRandomMapping,
  baseAddressOf,
  findData,
  isFileLocked,
  lockFile,
  mapAnonymous,
  mapFile,
  populate,
  reserveBlocks,
  syncMapping,
} from "./libc.js";
import { makeDirectory } from "./make-directory.js";
import type {
  DirectoryEntry,
  FileAdvice,
  FileRange,
  MappedRegion,
  Storage,
  StorageCounters,
  StorageFile,
  StorageLock,
} from "./storage.js";
import { noSystemCalls, type SystemCalls } from "./system-calls.js";

const OPEN_FLAGS = {
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
  write: fs.constants.O_RDWR,
  read: fs.constants.O_RDONLY,
} as const;

/** Mappings begin and end on multiples of this, whatever the page size of the machine. */
const MAP_GRAIN_BYTES = 65_536;
/** Small enough that a pool thread is soon free again for somebody's sync. */
const POPULATE_STEP_BYTES = 8 << 20;
const TOUCH_STEP_BYTES = 256 << 10;
const SMALLEST_PAGE_BYTES = 4_096;

/** The real operating system. Errors are those of `fs`: a `code`, a `syscall`, and always the `path`. */
export class DiskStorage implements Storage {
  readonly counters: StorageCounters = zeroCounters();
  /** Without writes and reads, which `counters` has. */
  readonly #calls = noSystemCalls();
  readonly syncCoversMappings = process.platform === "linux";
  readonly takesAdvice = process.platform === "linux";

  readonly #account: Account = { counters: this.counters, calls: this.#calls };

  constructor(private readonly heap: Heap = processHeap) {
    try {
      heap.liesAt(baseAddressOf(heap));
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error; // no mapping here at all, so no need to align one
    }
  }

  /** So far, by this thread's storage and its files. */
  systemCalls(): SystemCalls {
    return { ...this.#calls, write: this.counters.writeCalls, read: this.counters.readCalls };
  }

  open(path: string, mode: "create" | "write" | "read"): StorageFile {
    this.#calls.open++;
    const fd = fs.openSync(path, OPEN_FLAGS[mode]);
    this.counters.filesOpened++;
    if (mode === "create") this.counters.filesCreated++;
    return new DiskFile(path, fd, this.#account, this.heap);
  }

  exists(path: string): boolean {
    this.#calls.stat++;
    return fs.existsSync(path);
  }

  list(path: string): readonly DirectoryEntry[] {
    this.#calls.other++;
    return fs
      .readdirSync(path, { withFileTypes: true })
      .map(
        (entry): DirectoryEntry => ({
          name: entry.name,
          kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other",
        }),
      )
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  makeDirectory(path: string): void {
    this.#calls.other++;
    makeDirectory(path);
  }

  removeDirectory(path: string): void {
    this.#calls.other++;
    fs.rmdirSync(path);
  }

  remove(path: string): void {
    this.#calls.unlink++;
    fs.unlinkSync(path);
    this.counters.filesDeleted++;
  }

  async removeAside(path: string): Promise<void> {
    this.#calls.unlink++;
    await fs.promises.unlink(path);
    this.counters.filesDeleted++;
  }

  modifiedMs(path: string): number {
    this.#calls.stat++;
    return fs.statSync(path).mtimeMs;
  }

  rename(from: string, to: string): void {
    this.#calls.rename++;
    fs.renameSync(from, to);
  }

  syncDirectory(path: string): void {
    const fd = this.#openDirectory(path);
    try {
      this.#countDirectorySync();
      onPath(path, () => fs.fsyncSync(fd));
    } finally {
      this.#close(fd);
    }
  }

  async syncDirectoryAside(path: string): Promise<void> {
    const fd = this.#openDirectory(path);
    this.#countDirectorySync();
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(fd, (error) => (error ? reject(withPath(error, path)) : resolve()));
      });
    } finally {
      this.#close(fd);
    }
  }

  #openDirectory(path: string): number {
    this.#calls.open++;
    return fs.openSync(path, fs.constants.O_RDONLY);
  }

  #countDirectorySync(): void {
    this.counters.syncCalls++;
    this.#calls.fsync++;
  }

  #close(fd: number): void {
    this.#calls.close++;
    fs.closeSync(fd);
  }

  readAll(path: string): Uint8Array {
    const content = fs.readFileSync(path);
    this.#calls.open++;
    this.#calls.stat++;
    this.#calls.close++;
    this.counters.filesOpened++;
    this.counters.readCalls++;
    this.counters.readBytes += content.byteLength;
    return content;
  }

  replaceAll(path: string, content: Uint8Array): void {
    const temporary = `${path}.tmp`;
    this.#calls.unlink++;
    fs.rmSync(temporary, { force: true });
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
    this.#calls.open++;
    this.#calls.other++;
    const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    let locked = false;
    try {
      locked = onPath(path, () => lockFile(fd));
    } finally {
      if (!locked) this.#close(fd);
    }
    return locked ? { release: () => this.#close(fd) } : null;
  }

  isLocked(path: string): boolean {
    this.#calls.open++;
    this.#calls.other++;
    const fd = fs.openSync(path, fs.constants.O_RDONLY);
    try {
      return onPath(path, () => isFileLocked(fd));
    } finally {
      this.#close(fd);
    }
  }

  freeBytes(path: string): number {
    this.#calls.other++;
    const { bavail, bsize } = fs.statfsSync(path);
    return bavail * bsize;
  }

  openFileLimit(): number {
    this.#calls.other++;
    try {
      const limits = fs.readFileSync("/proc/self/limits", "utf8");
      const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
      return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
    } catch {
      return Number.POSITIVE_INFINITY; // not Linux; Node has raised the limit as far as it goes
    }
  }
}

/** What a storage and its files count in common. */
interface Account {
  readonly counters: StorageCounters;
  readonly calls: SystemCalls;
}

class DiskFile implements StorageFile {
  #isClosed = false;
  #syncsUnderWay = 0;

  private readonly counters: StorageCounters;
  private readonly calls: SystemCalls;

  constructor(
    readonly path: string,
    private readonly fd: number,
    private readonly account: Account,
    private readonly heap: Heap,
  ) {
    this.counters = account.counters;
    this.calls = account.calls;
  }

  get descriptor(): number {
    this.#checkOpen();
    return this.fd;
  }

  write(source: Uint8Array, at: number, sizeBytes: number, positionBytes: number): void {
    this.#checkOpen();
    let done = 0;
    try {
      while (done < sizeBytes) {
        this.counters.writeCalls++;
        const written = fs.writeSync(this.fd, source, at + done, sizeBytes - done, positionBytes + done);
        this.counters.writtenBytes += written;
        done += written;
      }
    } catch (error) {
      throw withPath(error, this.path);
    }
  }

  read(target: Uint8Array, at: number, sizeBytes: number, positionBytes: number): number {
    this.#checkOpen();
    let done = 0;
    try {
      while (done < sizeBytes) {
        this.counters.readCalls++;
        const read = fs.readSync(this.fd, target, at + done, sizeBytes - done, positionBytes + done);
        if (read === 0) break;
        this.counters.readBytes += read;
        done += read;
      }
    } catch (error) {
      throw withPath(error, this.path);
    }
    return done;
  }

  sync(): Promise<void> {
    this.#checkOpen();
    this.#countSync();
    this.#syncsUnderWay++;
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.fd, (error) => {
        this.#syncsUnderWay--;
        if (this.#isClosed) this.#closeWhenIdle();
        if (error) reject(withPath(error, this.path));
        else resolve();
      });
    });
  }

  syncNow(): void {
    this.#checkOpen();
    this.#countSync();
    onPath(this.path, () => fs.fdatasyncSync(this.fd));
  }

  #countSync(): void {
    this.counters.syncCalls++;
    this.calls.fdatasync++;
  }

  sizeBytes(): number {
    this.#checkOpen();
    this.calls.stat++;
    return onPath(this.path, () => fs.fstatSync(this.fd).size);
  }

  dataFrom(positionBytes: number): FileRange | null {
    const sizeBytes = this.sizeBytes();
    if (positionBytes >= sizeBytes) return null;
    return onPath(this.path, () => findData(this.fd, positionBytes, sizeBytes));
  }

  truncate(sizeBytes: number): void {
    this.#checkOpen();
    this.calls.ftruncate++;
    onPath(this.path, () => fs.ftruncateSync(this.fd, sizeBytes));
  }

  allocate(sizeBytes: number): boolean {
    this.#checkOpen();
    this.calls.fallocate++;
    return onPath(this.path, () => {
      if (reserveBlocks(this.fd, sizeBytes)) return true;
      if (this.sizeBytes() < sizeBytes) this.truncate(sizeBytes);
      return false;
    });
  }

  advise(advice: FileAdvice, positionBytes: number, sizeBytes: number): void {
    this.#checkOpen();
    this.calls.fadvise++;
    onPath(this.path, () => adviseFile(this.fd, advice, positionBytes, sizeBytes));
  }

  map(address: number, sizeBytes: number, positionBytes: number): MappedRegion {
    this.#checkOpen();
    invariant(
      address % MAP_GRAIN_BYTES === 0 && positionBytes % MAP_GRAIN_BYTES === 0,
      "a mapping begins on a multiple of 64 KiB, in the heap and in the file",
    );
    invariant(
      sizeBytes > 0 && positionBytes + sizeBytes <= this.sizeBytes(),
      "a mapping lies within the file: allocate or truncate it to its size first",
    );
    // A descriptor of its own lets the region be synced after the file was closed.
    this.calls.open++;
    const fd = onPath(this.path, () => fs.openSync(this.path, fs.constants.O_RDWR));
    const base = baseAddressOf(this.heap);
    this.calls.mmap++;
    try {
      onPath(this.path, () => mapFile(base + address, sizeBytes, fd, positionBytes));
    } catch (error) {
      this.calls.close++;
      fs.closeSync(fd);
      throw error;
    }
    return new DiskRegion(
      address,
      sizeBytes,
      new DiskFile(this.path, fd, this.account, this.heap),
      this.account,
      this.heap,
    );
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closeWhenIdle();
  }

  /** A descriptor closed under a sync could by then be somebody else's file. */
  #closeWhenIdle(): void {
    if (this.#syncsUnderWay > 0) return;
    this.calls.close++;
    fs.closeSync(this.fd);
  }

  #checkOpen(): void {
    invariant(!this.#isClosed, "a file is not used after it was closed");
  }
}

class DiskRegion implements MappedRegion {
  #isMapped = true;
  #syncsUnderWay = 0;

  constructor(
    readonly address: number,
    readonly sizeBytes: number,
    private readonly file: DiskFile,
    private readonly account: Account,
    private readonly heap: Heap,
  ) {}

  async populate(at: number, sizeBytes: number): Promise<void> {
    invariant(at >= 0 && at + sizeBytes <= this.sizeBytes, "only the region's own pages are populated");
    const base = baseAddressOf(this.heap);
    const end = at + sizeBytes;
    let from = at - (at % MAP_GRAIN_BYTES);
    while (from < end && this.#isMapped) {
      const step = Math.min(POPULATE_STEP_BYTES, end - from);
      this.account.calls.madvise++;
      if (!(await populate(base + this.address + from, step))) return this.#touch(from, end);
      from += step;
    }
  }

  /** The fallback: an atomic OR with nothing dirties a page and changes no byte, whoever else is writing it. */
  async #touch(from: number, end: number): Promise<void> {
    for (let at = from; at < end && this.#isMapped; at += SMALLEST_PAGE_BYTES) {
      Atomics.or(this.heap.bytes, this.address + at, 0);
      if (at % TOUCH_STEP_BYTES === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** On Linux a ranged msync is a ranged fdatasync; macOS needs the file's own behind it. */
  async sync(at: number, sizeBytes: number): Promise<void> {
    invariant(this.#isMapped, "a region is not used after it was unmapped");
    invariant(at >= 0 && sizeBytes > 0 && at + sizeBytes <= this.sizeBytes, "only the region's own pages are synced");
    const from = at - (at % MAP_GRAIN_BYTES);
    this.#syncsUnderWay++;
    try {
      this.account.calls.msync++;
      if (process.platform === "linux") {
        this.account.counters.syncCalls++;
        this.account.calls.madvise++;
      }
      await syncMapping(baseAddressOf(this.heap) + this.address + from, at + sizeBytes - from);
      if (process.platform === "darwin") await this.file.sync();
    } catch (error) {
      throw withPath(error, this.file.path);
    } finally {
      this.#syncsUnderWay--;
    }
  }

  adviseRandomReads(): void {
    this.account.calls.madvise++;
    onPath(this.file.path, () => adviseRandomMapping(baseAddressOf(this.heap) + this.address, this.sizeBytes));
  }

  unmap(): void {
    if (!this.#isMapped) return;
    invariant(this.#syncsUnderWay === 0, "a region is not unmapped while it is synced: nothing would be");
    this.#isMapped = false;
    const wholeBytes = Math.ceil(this.sizeBytes / MAP_GRAIN_BYTES) * MAP_GRAIN_BYTES;
    this.account.calls.mmap++;
    onPath(this.file.path, () => mapAnonymous(baseAddressOf(this.heap) + this.address, wholeBytes));
    this.file.close();
  }
}

function onPath<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw withPath(error, path);
  }
}

/** Calls on a descriptor fail without naming the file. */
function withPath(error: unknown, path: string): unknown {
  if (error instanceof Error && (error as NodeJS.ErrnoException).code !== undefined) {
    const failure = error as NodeJS.ErrnoException;
    if (failure.path === undefined) {
      failure.path = path;
      failure.message += ` '${path}'`;
    }
  }
  return error;
}

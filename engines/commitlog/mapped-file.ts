import {
  MAGIC_V1,
  MAGIC_V2,
  PHYSICAL_OFFSET_AT,
  QUEUE_OFFSET_AT,
  readInt64,
  SYS_FLAG_AT,
  SysFlag,
} from "../codec/commitlog-message.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { MappedRegion, Storage, StorageFile } from "../storage/storage.js";

export interface WindowGeometry {
  /** Where windows begin: each multiple of this within the file. */
  readonly windowBytes: number;
  /** How far a window reaches into the next, so that what begins in it ends in it: the largest record, in whole pages. */
  readonly overlapBytes: number;
}

const CHUNK_BYTES = 1 << 20;

/**
 * One file of the commitlog, of its full size from the start, mapped over windows of the heap as it is needed.
 *
 *   file     |0 ............ 64 MiB ............ 128 MiB ...
 *   window 0 |===================+++|
 *   window 1                    |===================+++|      + overlap: the same pages, mapped twice
 *
 * A record that begins in a window lies in it whole, so nothing is ever split, and the heap holds a few windows instead
 * of whole files. (RocketMQ maps each file whole.)
 */
export class MappedFile {
  readonly #windows = new Map<number, MappedRegion>();
  /** Stays mapped for now. */
  #syncing: MappedRegion | null = null;
  #readsAtRandom = false;
  #faultsSinglePages = false;

  private constructor(
    private readonly storage: Storage,
    private readonly heap: Heap,
    private readonly geometry: WindowGeometry,
    readonly path: string,
    /** Position in the log of this file's byte 0. */
    readonly baseOffset: number,
    readonly sizeBytes: number,
    private readonly file: StorageFile,
  ) {}

  /** Creates the file with its full size, its blocks reserved if asked for. Not durable before its directory is synced. */
  static create(
    storage: Storage,
    heap: Heap,
    geometry: WindowGeometry,
    path: string,
    baseOffset: number,
    sizeBytes: number,
    reserveBlocks: boolean,
  ): MappedFile {
    const file = storage.open(path, "create");
    try {
      if (reserveBlocks) file.allocate(sizeBytes);
      else file.truncate(sizeBytes);
    } catch (error) {
      file.close();
      storage.remove(path);
      throw error;
    }
    return new MappedFile(storage, heap, geometry, path, baseOffset, sizeBytes, file);
  }

  static open(
    storage: Storage,
    heap: Heap,
    geometry: WindowGeometry,
    path: string,
    baseOffset: number,
    sizeBytes: number,
  ): MappedFile {
    return new MappedFile(storage, heap, geometry, path, baseOffset, sizeBytes, storage.open(path, "write"));
  }

  get endOffset(): number {
    return this.baseOffset + this.sizeBytes;
  }

  /** The window in which what begins at `position` of the log lies, mapped now if it was not. */
  mapWindow(position: number): MappedRegion {
    invariant(position >= this.baseOffset && position < this.endOffset, "a position belongs to the file that is asked");
    const { windowBytes, overlapBytes } = this.geometry;
    const index = Math.floor((position - this.baseOffset) / windowBytes);
    let window = this.#windows.get(index);
    if (window === undefined) {
      const at = index * windowBytes;
      const sizeBytes = Math.min(windowBytes + overlapBytes, this.sizeBytes - at);
      const address = this.heap.reserveWindow(sizeBytes);
      try {
        window = this.file.map(address, sizeBytes, at);
        if (this.#readsAtRandom || this.#faultsSinglePages) window.adviseRandomReads();
      } catch (error) {
        this.heap.release(address);
        throw error;
      }
      this.#windows.set(index, window);
    }
    return window;
  }

  /** Position in the log of the first byte of the window of `position`. */
  windowStart(position: number): number {
    const { windowBytes } = this.geometry;
    return this.baseOffset + Math.floor((position - this.baseOffset) / windowBytes) * windowBytes;
  }

  /** From here on a record belongs to the next window, or to the next file. */
  windowEnd(position: number): number {
    return Math.min(this.windowStart(position) + this.geometry.windowBytes, this.endOffset);
  }

  /** Heap address of the log's `sizeBytes` bytes at `position` in the window where they begin, or -1: not mapped. */
  addressOf(position: number, sizeBytes: number): number {
    const index = Math.floor((position - this.baseOffset) / this.geometry.windowBytes);
    const window = this.#windows.get(index);
    if (window === undefined) return -1;
    const at = position - this.baseOffset - index * this.geometry.windowBytes;
    return at + sizeBytes <= window.sizeBytes ? window.address + at : -1;
  }

  /** Gives back the windows that end at or below `position` of the log. The file keeps what was stored. */
  unmapBelow(position: number): void {
    for (const [index, window] of this.#windows) {
      if (this.baseOffset + (index + 1) * this.geometry.windowBytes > position || window === this.#syncing) continue;
      this.#unmap(index, window);
    }
  }

  #unmap(index: number, window: MappedRegion): void {
    this.#windows.delete(index);
    window.unmap();
    this.heap.release(window.address);
  }

  /** Bytes that the file really has. */
  storedSizeBytes(): number {
    return this.file.sizeBytes();
  }

  /** Whether the `sizeBytes` bytes at `position` of the log are zeros. */
  isZero(position: number, sizeBytes: number): boolean {
    const chunk = new Uint8Array(Math.min(sizeBytes, CHUNK_BYTES));
    for (let done = 0; done < sizeBytes; done += chunk.length) {
      const read = this.read(chunk, 0, Math.min(chunk.length, sizeBytes - done), position + done);
      for (let i = 0; i < read; i++) if (chunk[i] !== 0) return false;
    }
    return true;
  }

  read(target: Uint8Array, at: number, sizeBytes: number, position: number): number {
    return this.file.read(target, at, sizeBytes, position - this.baseOffset);
  }

  /** From now on nothing is read ahead, from the file or through its windows. */
  adviseRandomReads(): void {
    this.#readsAtRandom = true;
    this.file.advise("random", 0, 0);
    for (const window of this.#windows.values()) window.adviseRandomReads();
  }

  /**
   * Whether windows mapped from now on fault in page by page. Without that Linux may cache up to 2 MiB of the file as one
   * folio; a store makes all of it dirty, and each small sync would write all of it.
   */
  faultSinglePages(isOn: boolean): void {
    this.#faultsSinglePages = isOn;
  }

  /** Lets go what lies between these positions of the log, as far as it is this file's and not mapped. */
  dropCached(from: number, to: number): void {
    const start = Math.max(from, this.baseOffset);
    const end = Math.min(to, this.endOffset);
    if (start < end) this.file.advise("drop", start - this.baseOffset, end - start);
  }

  /** Writes `sizeBytes` bytes at `position` of the log, which lie in no window. */
  write(source: Uint8Array, at: number, sizeBytes: number, position: number): void {
    this.file.write(source, at, sizeBytes, position - this.baseOffset);
  }

  /** Makes durable the log's bytes `from` to `to`, as far as they are this file's. */
  async sync(from: number, to: number): Promise<void> {
    const { windowBytes } = this.geometry;
    const end = Math.min(to, this.endOffset) - this.baseOffset;
    let hasUnmapped = false;
    for (let at = Math.max(from, this.baseOffset) - this.baseOffset; at < end; ) {
      const index = Math.floor(at / windowBytes);
      const next = Math.min((index + 1) * windowBytes, end);
      const window = this.#windows.get(index);
      if (window === undefined) hasUnmapped = true;
      else await this.#syncWindow(window, at - index * windowBytes, next - at);
      at = next;
    }
    // What was stored through a window that is unmapped by now is the file's to sync.
    if (hasUnmapped) await this.file.sync();
  }

  async #syncWindow(window: MappedRegion, at: number, sizeBytes: number): Promise<void> {
    this.#syncing = window;
    try {
      await window.sync(at, sizeBytes);
    } finally {
      this.#syncing = null;
    }
  }

  /** Cuts what lies at and behind `position` of the log, and puts zeros there: nothing of it can come back. */
  zeroFrom(position: number, reserveBlocks: boolean): void {
    if (position >= this.endOffset) return;
    this.file.truncate(position - this.baseOffset);
    if (reserveBlocks) this.file.allocate(this.sizeBytes);
    else this.file.truncate(this.sizeBytes);
  }

  /** Cuts what stands behind the file's size. */
  cutToSize(): void {
    this.file.truncate(this.sizeBytes);
  }

  syncNow(): void {
    this.file.syncNow();
  }

  close(): void {
    for (const [index, window] of this.#windows) this.#unmap(index, window);
    this.file.close();
  }

  /** Closes and deletes the file. */
  remove(): void {
    this.close();
    this.storage.remove(this.path);
  }
}

/** Up to the store timestamp behind an IPv6 host. */
const HEADER_SIZE_BYTES = 56 + 12 + 8;

/** Which message of its queue the record at `position` of the log is, and when it was stored; undefined if none is there. */
export function readHeader(
  file: MappedFile,
  position: number,
): { queueOffset: number; storeTimestampMs: number } | undefined {
  const bytes = new Uint8Array(HEADER_SIZE_BYTES);
  file.read(bytes, 0, HEADER_SIZE_BYTES, position);
  const view = new DataView(bytes.buffer);
  const magic = view.getInt32(4);
  if (magic !== MAGIC_V1 && magic !== MAGIC_V2) return undefined;
  if (readInt64(view, PHYSICAL_OFFSET_AT) !== position) return undefined;
  const isBornHostV6 = (view.getInt32(SYS_FLAG_AT) & SysFlag.BORN_HOST_V6) !== 0;
  return {
    queueOffset: readInt64(view, QUEUE_OFFSET_AT),
    storeTimestampMs: readInt64(view, isBornHostV6 ? 56 + 12 : 56),
  };
}

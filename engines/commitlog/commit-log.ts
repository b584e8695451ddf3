import { BLANK_SIZE_BYTES } from "../codec/commitlog-message.js";
import type { EngineListener } from "../engine.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { Storage } from "../storage/storage.js";
import { MappedFile, type WindowGeometry } from "./mapped-file.js";
import { offsetFileName } from "./names.js";

export interface CommitLogOptions {
  readonly storage: Storage;
  readonly heap: Heap;
  readonly directory: string;
  readonly fileSizeBytes: number;
  readonly geometry: WindowGeometry;
  readonly preallocate: boolean;
  readonly pageCacheAdvice: "none" | "random-reads" | "drop-behind";
  readonly listener: EngineListener;
}

/** So much is dropped from the page cache at once. */
const DROP_STEP_BYTES = 8 << 20;

/** Told of what a write has handed to the kernel: it still lies in the heap at `address` while this runs. */
type WrittenListener = (address: number, sizeBytes: number, position: number) => void;

/**
 * The shared log: fixed-size files, named by the position of their first byte, together one address space. Records are
 * encoded by the caller at the address that `begin` gives; `advance` then makes them part of the log. Where that address
 * lies, and when what is there reaches the file, is the write path's: `MappedLog` or `WrittenLog`.
 *
 *   files     0               1 GiB             2 GiB
 *             |records..blank||records ... |0000||0000000|  the next one, made ahead of need
 *                                 ^flushedOffset ^endOffset
 */
export abstract class CommitLog {
  /** Ascending and adjacent; records are appended to the last. */
  readonly files: MappedFile[];
  /** What lies below is with the kernel: it outlives this process, and may be acknowledged and read. */
  endOffset: number;
  /** What lies below is on the device. */
  flushedOffset: number;
  /** What lies below has been dispatched, so its windows may go. */
  dispatchedOffset: number;
  /** Files begun since opening. */
  filesRolled = 0;
  /** Called by a write path that gathers, after each write. */
  onWritten: WrittenListener = () => undefined;

  /** Made ahead of need, holding nothing yet. */
  protected next: MappedFile | null = null;
  /** The next file is made when the log ends here. */
  protected createAt = Number.POSITIVE_INFINITY;
  protected readonly options: CommitLogOptions;
  #syncing: Promise<void> = Promise.resolve();
  /** What lies below, of what was appended since opening, has left the page cache, if it could. */
  #droppedOffset: number;

  /** @param files what recovery left, the last one with room for records from `endOffset` on, or none */
  constructor(options: CommitLogOptions, files: MappedFile[], endOffset: number) {
    this.options = options;
    this.files = files;
    this.endOffset = endOffset;
    this.flushedOffset = endOffset;
    this.dispatchedOffset = endOffset;
    this.#droppedOffset = endOffset;
    if (options.pageCacheAdvice === "random-reads") for (const file of files) file.adviseRandomReads();
    const last = files.at(-1);
    if (last !== undefined) this.createAt = this.#createAtOf(last);
  }

  get startOffset(): number {
    return this.files[0]?.baseOffset ?? 0;
  }

  /** Where the next record goes, whose `begin` may still move it to the next file. */
  abstract get appendOffset(): number;

  /** Heap address where a record (or a batch of them) of `sizeBytes` is to be encoded. It may lie in the next file. */
  abstract begin(sizeBytes: number): number;

  /** What was encoded at the last `begin` belongs to the log now. */
  abstract advance(sizeBytes: number): void;

  /** Hands to the kernel what it does not have yet. */
  abstract writeOut(): void;

  /**
   * Makes bytes that lie below `endOffset` readable in the heap, from `position` on, up to `to` or a little less.
   * @returns how many; `loadedAddress` says where, until the next call
   */
  abstract load(position: number, to: number): number;
  loadedAddress = 0;

  /** Gives the heap back what the write path took. */
  abstract release(): void;

  /** Whether a record of `sizeBytes` at `position` leaves its file room for a blank. */
  protected fits(file: MappedFile, position: number, sizeBytes: number): boolean {
    invariant(sizeBytes + BLANK_SIZE_BYTES <= this.options.fileSizeBytes, "a record fits into a file");
    return position + sizeBytes + BLANK_SIZE_BYTES <= file.endOffset;
  }

  /** Begins the next file; the log ends where the last one does. */
  protected roll(): MappedFile {
    const startedNs = this.options.listener.event === undefined ? 0n : process.hrtime.bigint();
    const file = this.next ?? this.#createFile(this.endOffset);
    invariant(file.baseOffset === this.endOffset, "a new file begins where the log ends");
    this.next = null;
    this.createAt = this.#createAtOf(file);
    this.files.push(file);
    this.filesRolled++;
    this.options.listener.event?.({
      kind: "segment-roll",
      startedNs,
      durationNs: Number(process.hrtime.bigint() - startedNs),
      detail: file.path,
    });
    return file;
  }

  /** Half a file ahead of need. */
  #createAtOf(file: MappedFile): number {
    return this.options.preallocate ? file.baseOffset + file.sizeBytes / 2 : Number.POSITIVE_INFINITY;
  }

  #createFile(baseOffset: number): MappedFile {
    const { storage, heap, geometry, directory, fileSizeBytes, preallocate, pageCacheAdvice, listener } = this.options;
    const startedNs = listener.event === undefined ? 0n : process.hrtime.bigint();
    const path = `${directory}/${offsetFileName(baseOffset)}`;
    const file = MappedFile.create(storage, heap, geometry, path, baseOffset, fileSizeBytes, preallocate);
    file.syncNow(); // its size, too: a file of another size would be refused after a crash
    storage.syncDirectory(directory);
    if (pageCacheAdvice === "random-reads") file.adviseRandomReads();
    listener.event?.({
      kind: "file-preallocate",
      startedNs,
      durationNs: Number(process.hrtime.bigint() - startedNs),
      detail: path,
    });
    return file;
  }

  /** `prepare` is due when the log ends here. */
  get prepareAt(): number {
    return this.createAt;
  }

  /** One bounded step of what is done ahead of need: the next file. */
  prepare(_nowMs: number): void {
    const file = this.files.at(-1);
    if (file === undefined || this.endOffset < this.createAt) return;
    this.createAt = Number.POSITIVE_INFINITY;
    try {
      this.next = this.#createFile(file.endOffset);
    } catch {
      // tried again when it is needed, and reported then
    }
  }

  /** What lies below is mapped no more, so it can leave the page cache. */
  protected abstract get unmappedTo(): number;

  /**
   * One bounded step of the advice "drop-behind": the oldest bytes that are on the device and dispatched are not to stay
   * in memory. It only helps, so a failure is none.
   */
  dropBehind(): void {
    const to = this.#droppedOffset + DROP_STEP_BYTES;
    if (to > Math.min(this.flushedOffset, this.dispatchedOffset, this.unmappedTo)) return;
    for (const file of this.files) {
      try {
        file.dropCached(this.#droppedOffset, to);
      } catch {
        // stays in memory
      }
    }
    this.#droppedOffset = to;
  }

  /** Makes the first file, if there is none. */
  async warm(nowMs: number): Promise<void> {
    if (this.files.length === 0 || this.endOffset === this.files.at(-1)!.endOffset) this.roll();
    this.prepare(nowMs);
  }

  /** The file that holds `position`. */
  fileOf(position: number): MappedFile {
    const first = this.files[0];
    invariant(first !== undefined && position >= first.baseOffset, "a position lies in the log");
    const file = this.files[Math.floor((position - first.baseOffset) / first.sizeBytes)];
    invariant(file !== undefined, "a position lies in the log");
    return file;
  }

  /** Makes durable all that is written now. One sync at a time. */
  sync(): Promise<void> {
    this.#syncing = this.#sync();
    return this.#syncing;
  }

  async #sync(): Promise<void> {
    const from = this.flushedOffset;
    const to = this.endOffset;
    for (const file of [...this.files]) {
      // A copy: retention may take the oldest meanwhile.
      if (file.endOffset <= from || file.baseOffset >= to) continue;
      await file.sync(from, to);
    }
    this.flushedOffset = Math.max(this.flushedOffset, to);
  }

  /** Deletes the oldest file, which is not the last. @returns its path */
  dropOldest(): string {
    invariant(this.files.length > 1, "the last file stays");
    const file = this.files.shift()!;
    file.remove();
    return file.path;
  }

  /** Deletes the files that hold no record and closes the others. What was written must have been synced. */
  async close(): Promise<void> {
    await this.#syncing.catch(() => undefined); // whoever began it knows
    const last = this.files.at(-1);
    if (this.next !== null) this.#removeFile(this.next);
    if (last !== undefined && last.baseOffset === this.endOffset) {
      this.files.pop();
      this.#removeFile(last);
    }
    for (const file of this.files) file.close();
  }

  /** Durable before the next is removed, so that a crash leaves no gap in the row. */
  #removeFile(file: MappedFile): void {
    file.remove();
    this.options.storage.syncDirectory(this.options.directory);
  }
}

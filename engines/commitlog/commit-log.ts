import { BLANK_SIZE_BYTES, encodeBlank } from "../codec/commitlog-message.js";
import type { EngineListener } from "../engine.js";
import type { Heap } from "../heap.js";
import { invariant } from "../invariant.js";
import type { Storage } from "../storage/storage.js";
import { MappedFile, type WindowGeometry } from "./mapped-file.js";
import { offsetFileName } from "./names.js";
import { WarmUp } from "./warm-up.js";

/** Windows that stay mapped behind the append position, for reput and for readers at the tail. */
const WINDOWS_KEPT = 2;

export interface CommitLogOptions {
  readonly storage: Storage;
  readonly heap: Heap;
  readonly directory: string;
  readonly fileSizeBytes: number;
  readonly geometry: WindowGeometry;
  readonly preallocate: boolean;
  /**
   * A sync takes along the zeros that were faulted in ahead. Later ones then find their blocks written, and take about
   * two thirds of the time; but the pages have to be faulted in again, so it pays only for many small syncs.
   */
  readonly syncsAhead: boolean;
  readonly listener: EngineListener;
}

/** A part of the log, in one window. */
export interface LogRoom {
  /** Address of a record = its position + this. */
  readonly shift: number;
  /** Where the window ends: a record that starts before it lies in it whole. */
  readonly to: number;
  /** Where a record ends at the latest: the file ends behind it. */
  readonly limit: number;
}

/**
 * The shared log: fixed-size files, named by the position of their first byte, together one address space. Records are
 * encoded by the caller into the mapping, at the address that `begin` gives; `advance` then makes them part of the log.
 *
 *   files     0               1 GiB             2 GiB
 *             |records..blank||records ... |0000||0000000|  the next one, made ahead of need
 *                                 ^flushedOffset ^endOffset
 */
export class CommitLog {
  /** Ascending and adjacent; records are appended to the last. */
  readonly files: MappedFile[];
  /** Where the next record goes: what lies below is written. */
  endOffset: number;
  /** What lies below is on the device. */
  flushedOffset: number;
  /** What lies below has been dispatched, so its windows may go. */
  dispatchedOffset: number;
  /** Files begun since opening. */
  filesRolled = 0;

  /** Made ahead of need, holding nothing yet. */
  #next: MappedFile | null = null;
  /** Address of a record = its position + this, in the current window. */
  #shift = 0;
  /** A record that ends at or below this position needs neither a new window nor a new file. */
  #limit = -1;
  /** The next file is made when the log ends here. */
  #createAt = Number.POSITIVE_INFINITY;
  #syncing: Promise<void> = Promise.resolve();
  readonly #options: CommitLogOptions;
  readonly #warmUp: WarmUp;

  /** @param files what recovery left, the last one with room for records from `endOffset` on, or none */
  constructor(options: CommitLogOptions, files: MappedFile[], endOffset: number) {
    this.#options = options;
    this.files = files;
    this.endOffset = endOffset;
    this.flushedOffset = endOffset;
    this.dispatchedOffset = endOffset;
    this.#warmUp = new WarmUp();
    const last = files.at(-1);
    if (last !== undefined) this.#createAt = this.#createAtOf(last);
  }

  get startOffset(): number {
    return this.files[0]?.baseOffset ?? 0;
  }

  /** Where records go without another `begin`: those that start before `to` and end at or below `limit`. */
  get room(): LogRoom {
    const file = this.files.at(-1)!;
    return {
      shift: this.#shift,
      to: file.windowEnd(this.endOffset),
      limit: file.endOffset - BLANK_SIZE_BYTES,
    };
  }

  /** Heap address where a record (or a batch of them) of `sizeBytes` is to be encoded. It may lie in the next file. */
  begin(sizeBytes: number): number {
    if (this.endOffset + sizeBytes > this.#limit) this.#makeRoom(sizeBytes);
    return this.endOffset + this.#shift;
  }

  /** What was encoded at the last `begin` belongs to the log now. */
  advance(sizeBytes: number): void {
    this.endOffset += sizeBytes;
  }

  #makeRoom(sizeBytes: number): void {
    invariant(sizeBytes + BLANK_SIZE_BYTES <= this.#options.fileSizeBytes, "a record fits into a file");
    invariant(sizeBytes <= this.#options.geometry.overlapBytes, "a record that begins in a window ends in it");
    let file = this.files.at(-1);
    if (file === undefined || this.endOffset === file.endOffset) {
      file = this.#roll();
    } else if (this.endOffset + sizeBytes + BLANK_SIZE_BYTES > file.endOffset) {
      this.#endFile(file);
      file = this.#roll();
    }
    const window = file.mapWindow(this.endOffset);
    this.#shift = window.address - file.windowStart(this.endOffset);
    this.#limit = Math.min(file.windowEnd(this.endOffset), file.endOffset - BLANK_SIZE_BYTES);
    this.#unmapOld();
  }

  /** Writes the blank: at least its 8 bytes are left, because every record was placed so. */
  #endFile(file: MappedFile): void {
    const left = file.endOffset - this.endOffset;
    const window = file.mapWindow(this.endOffset);
    encodeBlank(this.#options.heap.bytes, window.address + this.endOffset - file.windowStart(this.endOffset), left);
    this.endOffset = file.endOffset;
  }

  #roll(): MappedFile {
    const startedNs = this.#options.listener.event === undefined ? 0n : process.hrtime.bigint();
    const file = this.#next ?? this.#createFile(this.endOffset);
    invariant(file.baseOffset === this.endOffset, "a new file begins where the log ends");
    this.#next = null;
    this.#createAt = this.#createAtOf(file);
    this.files.push(file);
    this.filesRolled++;
    this.#options.listener.event?.({
      kind: "segment-roll",
      startedNs,
      durationNs: Number(process.hrtime.bigint() - startedNs),
      detail: file.path,
    });
    return file;
  }

  /** Half a file ahead of need. */
  #createAtOf(file: MappedFile): number {
    return this.#options.preallocate ? file.baseOffset + file.sizeBytes / 2 : Number.POSITIVE_INFINITY;
  }

  #createFile(baseOffset: number): MappedFile {
    const { storage, heap, geometry, directory, fileSizeBytes, preallocate, listener } = this.#options;
    const startedNs = listener.event === undefined ? 0n : process.hrtime.bigint();
    const path = `${directory}/${offsetFileName(baseOffset)}`;
    const file = MappedFile.create(storage, heap, geometry, path, baseOffset, fileSizeBytes, preallocate);
    file.syncNow(); // its size, too: a file of another size would be refused after a crash
    storage.syncDirectory(directory);
    listener.event?.({
      kind: "file-preallocate",
      startedNs,
      durationNs: Number(process.hrtime.bigint() - startedNs),
      detail: path,
    });
    return file;
  }

  #unmapOld(): void {
    const keptBytes = WINDOWS_KEPT * this.#options.geometry.windowBytes;
    const from = Math.min(this.endOffset - keptBytes, this.dispatchedOffset);
    for (const file of this.files) file.unmapBelow(from);
  }

  /** `prepare` is due when the log ends here. */
  get prepareAt(): number {
    return Math.min(this.#warmUp.dueAt, this.#createAt);
  }

  /** One bounded step of what is done ahead of need: the next file, and pages faulted in before they are written. */
  prepare(nowMs: number): void {
    const file = this.files.at(-1);
    if (file === undefined) return;
    if (this.endOffset >= this.#createAt) {
      this.#createAt = Number.POSITIVE_INFINITY;
      try {
        this.#next = this.#createFile(file.endOffset);
      } catch {
        // tried again when it is needed, and reported then
      }
    }
    if (this.endOffset >= this.#warmUp.dueAt) this.#warmUp.step(this.endOffset, nowMs, file, this.#next);
  }

  /** Makes the first file, if there is none, and faults its first pages in. */
  async warm(nowMs: number): Promise<void> {
    if (this.files.length === 0 || this.endOffset === this.files.at(-1)!.endOffset) this.#roll();
    this.prepare(nowMs);
    await this.#warmUp.settled();
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
    const last = this.files.at(-1);
    for (const file of this.files) {
      if (file.endOffset <= from || file.baseOffset >= to) continue;
      const syncTo = file === last && this.#options.syncsAhead ? Math.max(to, this.#warmUp.warmedTo) : to;
      await file.sync(from, syncTo);
    }
    this.flushedOffset = Math.max(this.flushedOffset, to);
  }

  /** Deletes the files that hold no record and closes the others. What was written must have been synced. */
  async close(): Promise<void> {
    await this.#warmUp.settled();
    await this.#syncing.catch(() => undefined); // whoever began it knows
    const last = this.files.at(-1);
    if (this.#next !== null) this.#removeFile(this.#next);
    if (last !== undefined && last.baseOffset === this.endOffset) {
      this.files.pop();
      this.#removeFile(last);
    }
    for (const file of this.files) file.close();
  }

  /** Durable before the next is removed, so that a crash leaves no gap in the row. */
  #removeFile(file: MappedFile): void {
    file.remove();
    this.#options.storage.syncDirectory(this.#options.directory);
  }
}

import type { Storage, StorageFile } from "../storage/storage.js";
import { type ConsumequeueUnit, decodeUnit, encodeUnit, PRE_BLANK_SIZE, UNIT_SIZE_BYTES } from "./consumequeue-unit.js";
import { offsetFileName, parseOffsetFileName } from "./names.js";
import type { OpenFiles } from "./open-files.js";

const PRE_BLANK_CHUNK_UNITS = 3_000;
/** What is there already is read by up to so much at once: recovery compares thousands of queues, a little each. */
const MOST_PRESENT_BYTES = 16_384;

/**
 * The files of one queue: unit N at byte N * 20 of a row of files of one size, each of its full size from the start,
 * zeros where nothing is written yet. Derived data: the commitlog rebuilds it.
 */
export class Consumequeue {
  /** Units in the files, counted from queue offset 0: what the next one written gets. */
  writtenUnits = 0;
  /** Bytes written since the last sync. */
  unsyncedBytes = 0;
  /** Something was written or cut. */
  hasChanged = false;
  /** First bytes of the files that exist, ascending. */
  readonly #fileOffsets: number[] = [];
  /** Files, by first byte, that were written to since the last sync. */
  readonly #unsyncedFiles = new Set<number>();
  #comparesFirst = false;
  /** `#presentBytes` bytes from `#presentAt` on are what the files hold from byte `#presentFrom` of the row on. */
  #present = new Uint8Array(0);
  #presentAt = 0;
  #presentBytes = 0;
  #presentFrom = 0;
  #directoryIsMade = false;
  #directoryIsUnsynced = false;

  constructor(
    private readonly storage: Storage,
    private readonly files: OpenFiles,
    readonly directory: string,
    private readonly fileSizeBytes: number,
    private readonly counters: { indexBytes: number },
  ) {}

  /** In recovery: units that are there already are not written again. */
  set comparesFirst(isOn: boolean) {
    this.#comparesFirst = isOn;
    this.#present = new Uint8Array(0);
    this.#presentBytes = 0;
  }

  /** Makes the directory, so that an empty queue is found again. */
  makeDirectory(): void {
    if (this.#directoryIsMade) return;
    this.storage.makeDirectory(this.directory);
    this.#directoryIsMade = true;
  }

  /** Finds the files that are there. @returns names of what is no file of this queue, or has another size */
  load(): string[] {
    this.#directoryIsMade = true;
    const strangers: string[] = [];
    this.#fileOffsets.length = 0;
    for (const { name, kind } of this.storage.list(this.directory)) {
      const baseOffset = kind === "file" ? parseOffsetFileName(name) : undefined;
      if (baseOffset === undefined || baseOffset % this.fileSizeBytes !== 0) {
        strangers.push(name);
      } else {
        this.#fileOffsets.push(baseOffset);
        if (this.files.get(this.#path(baseOffset)).sizeBytes() !== this.fileSizeBytes) strangers.push(name);
      }
    }
    return strangers;
  }

  /** Deletes all files. @returns how many */
  dropAll(): number {
    const dropped = this.#fileOffsets.length;
    this.cutAt(0);
    return dropped;
  }

  get isSynced(): boolean {
    return this.#unsyncedFiles.size === 0;
  }

  get hasFiles(): boolean {
    return this.#fileOffsets.length > 0;
  }

  /** Queue offset of the first unit that the files have room for. */
  get firstUnit(): number {
    return this.hasFiles ? this.#fileOffsets[0]! / UNIT_SIZE_BYTES : 0;
  }

  /** Queue offset behind the last unit that the files have room for. */
  get roomEnd(): number {
    return this.hasFiles ? (this.#fileOffsets.at(-1)! + this.fileSizeBytes) / UNIT_SIZE_BYTES : 0;
  }

  /** Whether there are files for all units from `from` up to `to`. */
  hasRow(from: number, to: number): boolean {
    const first = this.#fileOffsetOf(from * UNIT_SIZE_BYTES);
    const fileCount = from < to ? Math.ceil((to * UNIT_SIZE_BYTES - first) / this.fileSizeBytes) : 0;
    const at = this.#fileOffsets.indexOf(first);
    const row = this.#fileOffsets.slice(Math.max(0, at), at + fileCount);
    return (
      fileCount === 0 || (row.length === fileCount && row.every((each, i) => each === first + i * this.fileSizeBytes))
    );
  }

  /** Writes units behind the last, from `source` at `at`. Not durable before `sync`. */
  append(source: Uint8Array, at: number, unitCount: number): void {
    let left = unitCount * UNIT_SIZE_BYTES;
    while (left > 0) {
      const position = this.writtenUnits * UNIT_SIZE_BYTES;
      const fileOffset = this.#fileOffsetOf(position);
      const sizeBytes = Math.min(left, fileOffset + this.fileSizeBytes - position);
      if (!this.#comparesFirst || !this.#holds(source, at, sizeBytes, position, fileOffset)) {
        const file = this.#fileAt(fileOffset) ?? this.#createFile(fileOffset);
        file.write(source, at, sizeBytes, position - fileOffset);
        this.unsyncedBytes += sizeBytes;
        this.counters.indexBytes += sizeBytes;
        this.hasChanged = true;
      }
      this.#unsyncedFiles.add(fileOffset); // what is there already need not be on the device either
      this.writtenUnits += sizeBytes / UNIT_SIZE_BYTES;
      at += sizeBytes;
      left -= sizeBytes;
    }
  }

  /** Writes units over those from queue offset `unit` on, all of which are written. Not durable before `sync`. */
  rewrite(unit: number, units: Uint8Array): void {
    for (let at = 0; at < units.length; ) {
      const position = unit * UNIT_SIZE_BYTES + at;
      const fileOffset = this.#fileOffsetOf(position);
      const sizeBytes = Math.min(units.length - at, fileOffset + this.fileSizeBytes - position);
      this.files.get(this.#path(fileOffset)).write(units, at, sizeBytes, position - fileOffset);
      this.unsyncedBytes += sizeBytes;
      this.counters.indexBytes += sizeBytes;
      this.#unsyncedFiles.add(fileOffset);
      at += sizeBytes;
    }
  }

  /** Whether the file holds these bytes at byte `position` of the row. What is read ahead serves the calls that follow on. */
  #holds(source: Uint8Array, at: number, sizeBytes: number, position: number, fileOffset: number): boolean {
    if (position !== this.#presentFrom || sizeBytes > this.#presentBytes) {
      this.#readPresent(sizeBytes, position, fileOffset);
    }
    const present = this.#present.subarray(this.#presentAt, this.#presentAt + Math.min(sizeBytes, this.#presentBytes));
    this.#presentFrom += present.length;
    this.#presentAt += present.length;
    this.#presentBytes -= present.length;
    return Buffer.compare(present, source.subarray(at, at + sizeBytes)) === 0;
  }

  /** Twice as much as the last time, so that a small queue has a small buffer. */
  #readPresent(leastBytes: number, position: number, fileOffset: number): void {
    const aheadBytes = Math.min(
      this.#present.length * 2,
      MOST_PRESENT_BYTES,
      fileOffset + this.fileSizeBytes - position,
    );
    const wantedBytes = Math.max(leastBytes, aheadBytes);
    if (this.#present.length < wantedBytes) this.#present = new Uint8Array(wantedBytes);
    this.#presentBytes = this.#fileAt(fileOffset)?.read(this.#present, 0, wantedBytes, position - fileOffset) ?? 0;
    this.#presentFrom = position;
    this.#presentAt = 0;
  }

  #fileAt(fileOffset: number): StorageFile | undefined {
    const isThere = this.#fileOffsets.at(-1) === fileOffset || this.#fileOffsets.includes(fileOffset);
    return isThere ? this.files.get(this.#path(fileOffset)) : undefined;
  }

  #createFile(fileOffset: number) {
    this.makeDirectory();
    const file = this.files.create(this.#path(fileOffset), this.fileSizeBytes);
    this.#fileOffsets.push(fileOffset);
    this.#directoryIsUnsynced = true;
    return file;
  }

  /**
   * Reads up to `unitCount` units from queue offset `unit` on, of those written.
   * @returns units read, at least one if `unit` is written; fewer than asked for at a file's end
   */
  read(unit: number, unitCount: number, target: Uint8Array, at: number): number {
    const position = unit * UNIT_SIZE_BYTES;
    const fileOffset = this.#fileOffsetOf(position);
    if (!this.#fileOffsets.includes(fileOffset)) return 0;
    const sizeBytes = Math.min(unitCount * UNIT_SIZE_BYTES, fileOffset + this.fileSizeBytes - position);
    const read = this.files.get(this.#path(fileOffset)).read(target, at, sizeBytes, position - fileOffset);
    return Math.floor(read / UNIT_SIZE_BYTES);
  }

  /** The unit of one message as the files have it, or undefined where they have no room for it. */
  unitAt(unit: number): ConsumequeueUnit | undefined {
    const bytes = new Uint8Array(UNIT_SIZE_BYTES);
    if (this.read(unit, 1, bytes, 0) === 0) return undefined;
    const found = { physicalOffset: 0, sizeBytes: 0, tagsCode: 0 };
    decodeUnit(new DataView(bytes.buffer), 0, found);
    return found;
  }

  /**
   * The first unit, of those that the files have room for, that `isBehind`; units in order, those before it are not.
   * Blanks before a queue's start are never behind, units never written always are.
   */
  findFirst(isBehind: (unit: ConsumequeueUnit) => boolean): number {
    let low = this.firstUnit;
    let high = this.roomEnd;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const unit = this.unitAt(middle);
      const behind = unit === undefined || unit.sizeBytes <= 0 || (unit.sizeBytes !== PRE_BLANK_SIZE && isBehind(unit));
      if (behind) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Makes `unit` the next to be written, where the log's first message of this queue belongs. */
  startAt(unit: number): void {
    if (unit < this.firstUnit || unit > this.roomEnd || this.#hasHoleBelow(unit)) this.cutAt(0);
    if (this.hasFiles) {
      this.writtenUnits = unit;
      return;
    }
    this.writtenUnits = this.#fileOffsetOf(unit * UNIT_SIZE_BYTES) / UNIT_SIZE_BYTES;
    const blanks = new Uint8Array(PRE_BLANK_CHUNK_UNITS * UNIT_SIZE_BYTES);
    const view = new DataView(blanks.buffer);
    for (let at = 0; at < blanks.length; at += UNIT_SIZE_BYTES) {
      encodeUnit({ physicalOffset: 0, sizeBytes: PRE_BLANK_SIZE, tagsCode: 0 }, view, at);
    }
    while (this.writtenUnits < unit) this.append(blanks, 0, Math.min(PRE_BLANK_CHUNK_UNITS, unit - this.writtenUnits));
  }

  /** Whether a unit is missing before `unit`, as a power cut leaves it: a search for the queue's start would end there. */
  #hasHoleBelow(unit: number): boolean {
    for (let at = this.firstUnit; at < unit; at++) if (!((this.unitAt(at)?.sizeBytes ?? 0) > 0)) return true;
    return false;
  }

  /**
   * Makes `unit` the next to be written: drops the files behind and puts zeros behind it in its own.
   * @returns whether a unit stood there, and how many files went
   */
  cutAt(unit: number): { hadUnits: boolean; droppedFiles: number } {
    const position = unit * UNIT_SIZE_BYTES;
    this.#presentBytes = 0;
    let hadUnits = false;
    let droppedFiles = 0;
    while (this.hasFiles && this.#fileOffsets.at(-1)! >= position) {
      const fileOffset = this.#fileOffsets.pop()!;
      hadUnits ||= this.#hasUnit(fileOffset, 0);
      this.#unsyncedFiles.delete(fileOffset);
      this.files.remove(this.#path(fileOffset));
      droppedFiles++;
    }
    const last = this.#fileOffsets.at(-1);
    if (last !== undefined && last + this.fileSizeBytes > position) {
      hadUnits ||= this.#hasUnit(last, position - last);
      const file = this.files.get(this.#path(last));
      file.truncate(position - last);
      file.truncate(this.fileSizeBytes);
      this.#unsyncedFiles.add(last);
    }
    this.writtenUnits = unit;
    this.hasChanged ||= hadUnits;
    return { hadUnits, droppedFiles };
  }

  /** Deletes the first file if all its units are below `unit`, but never the last file. @returns its path */
  dropOldestBelow(unit: number): string | undefined {
    const [oldest, next] = this.#fileOffsets;
    if (oldest === undefined || next === undefined || next > unit * UNIT_SIZE_BYTES) return undefined;
    this.#fileOffsets.shift();
    this.#unsyncedFiles.delete(oldest);
    this.files.remove(this.#path(oldest));
    return this.#path(oldest);
  }

  /** Whether something stands at byte `from`. */
  #hasUnit(fileOffset: number, from: number): boolean {
    const unit = new Uint8Array(UNIT_SIZE_BYTES);
    this.files.get(this.#path(fileOffset)).read(unit, 0, UNIT_SIZE_BYTES, from);
    return unit.some((byte) => byte !== 0);
  }

  /** Makes durable what was written before. */
  async sync(): Promise<void> {
    this.unsyncedBytes = 0;
    const fileOffsets = [...this.#unsyncedFiles];
    this.#unsyncedFiles.clear();
    for (const fileOffset of fileOffsets) {
      // One that retention has deleted meanwhile needs no sync.
      if (this.#fileOffsets.includes(fileOffset)) await this.files.get(this.#path(fileOffset)).sync();
    }
    if (this.#directoryIsUnsynced) {
      this.#directoryIsUnsynced = false;
      this.storage.syncDirectory(this.directory);
    }
  }

  #fileOffsetOf(position: number): number {
    return Math.floor(position / this.fileSizeBytes) * this.fileSizeBytes;
  }

  #path(fileOffset: number): string {
    return `${this.directory}/${offsetFileName(fileOffset)}`;
  }
}

import { BLANK_SIZE_BYTES, encodeBlank } from "../codec/commitlog-message.js";
import { invariant } from "../invariant.js";
import { CommitLog, type CommitLogOptions } from "./commit-log.js";
import type { MappedFile } from "./mapped-file.js";
import { WarmUp } from "./warm-up.js";

/** Windows that stay mapped behind the append position, for reput and for readers at the tail. */
const WINDOWS_KEPT = 2;

/** A part of the log, in one window. */
export interface LogRoom {
  /** Address of a record = its position + this. */
  readonly shift: number;
  /** Where the window ends: a record that starts before it lies in it whole. */
  readonly to: number;
  /** Where a record ends at the latest: the file ends behind it. */
  readonly limit: number;
}

/** RocketMQ's default write path: records are encoded into mappings of the files, and so are the kernel's at once. */
export class MappedLog extends CommitLog {
  /** Address of a record = its position + this, in the current window. */
  #shift = 0;
  /** A record that ends at or below this position needs neither a new window nor a new file. */
  #limit = -1;
  /** Windows that end at or below this position have been given back. */
  #unmappedTo = 0;
  readonly #warmUp: WarmUp;

  /**
   * @param warmUp what is faulted in before it is written
   * @param hasSmallSyncs What is appended to is faulted in page by page, so that a sync writes no more than it has to.
   */
  constructor(
    options: CommitLogOptions,
    files: MappedFile[],
    endOffset: number,
    warmUp: "ahead" | "file" | "none",
    private readonly hasSmallSyncs: boolean,
  ) {
    super(options, files, endOffset);
    this.#warmUp = new WarmUp(warmUp);
    if (hasSmallSyncs) files.at(-1)?.faultSinglePages(true);
  }

  override get appendOffset(): number {
    return this.endOffset;
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

  override begin(sizeBytes: number): number {
    if (this.endOffset + sizeBytes > this.#limit) this.#makeRoom(sizeBytes);
    return this.endOffset + this.#shift;
  }

  override advance(sizeBytes: number): void {
    this.endOffset += sizeBytes;
  }

  /** The kernel has it already. */
  override writeOut(): void {}

  override load(position: number, to: number): number {
    const file = this.fileOf(position);
    const window = file.mapWindow(position);
    const at = position - file.windowStart(position);
    this.loadedAddress = window.address + at;
    return Math.min(to - position, window.sizeBytes - at);
  }

  override release(): void {}

  protected override roll(): MappedFile {
    const ended = this.files.at(-1);
    const file = super.roll();
    if (this.hasSmallSyncs) {
      ended?.faultSinglePages(false);
      file.faultSinglePages(true);
    }
    return file;
  }

  #makeRoom(sizeBytes: number): void {
    invariant(sizeBytes <= this.options.geometry.overlapBytes, "a record that begins in a window ends in it");
    let file = this.files.at(-1);
    if (file === undefined || this.endOffset === file.endOffset) {
      file = this.roll();
    } else if (!this.fits(file, this.endOffset, sizeBytes)) {
      this.#endFile(file);
      file = this.roll();
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
    encodeBlank(this.options.heap.bytes, window.address + this.endOffset - file.windowStart(this.endOffset), left);
    this.endOffset = file.endOffset;
  }

  #unmapOld(): void {
    const keptBytes = WINDOWS_KEPT * this.options.geometry.windowBytes;
    const from = Math.min(this.endOffset - keptBytes, this.dispatchedOffset);
    for (const file of this.files) file.unmapBelow(from);
    this.#unmappedTo = from - this.options.geometry.windowBytes;
  }

  protected override get unmappedTo(): number {
    return this.#unmappedTo;
  }

  override get prepareAt(): number {
    return Math.min(this.#warmUp.dueAt, this.createAt);
  }

  /** Faults pages in, too, before they are written. */
  override prepare(nowMs: number): void {
    super.prepare(nowMs);
    if (this.hasSmallSyncs) this.next?.faultSinglePages(true);
    const file = this.files.at(-1);
    if (file !== undefined && this.endOffset >= this.#warmUp.dueAt) {
      this.#warmUp.step(this.endOffset, nowMs, file, this.next);
    }
  }

  override async warm(nowMs: number): Promise<void> {
    await super.warm(nowMs);
    await this.#warmUp.settled();
  }

  override async close(): Promise<void> {
    await this.#warmUp.settled();
    await super.close();
  }
}

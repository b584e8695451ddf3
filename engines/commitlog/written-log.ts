import { BLANK_SIZE_BYTES, encodeBlank } from "../codec/commitlog-message.js";
import { CommitLog, type CommitLogOptions } from "./commit-log.js";
import type { MappedFile } from "./mapped-file.js";

/** RocketMQ's writeWithoutMmap has a buffer of this size, its transientStorePool one of a file's. */
const BUFFER_SIZE_BYTES = 4 << 20;

/**
 * The write path without mappings: records are gathered in a buffer of ours and put into the file by one `write`, when
 * `writeOut` says so, when the buffer is full, and where a file ends. Nothing here is mapped, so no reader can see what
 * is not written yet.
 *
 * RocketMQ's transientStorePool gathers in the same way, but acknowledges what it has only gathered, so that a killed
 * process loses it. Here `onWritten` comes after the write has returned, and acknowledges then.
 *
 *   file     |records ........|
 *   buffer                    |gathered ....|
 *                    endOffset^             ^appendOffset
 */
export class WrittenLog extends CommitLog {
  readonly #buffer: number;
  readonly #capacityBytes: number;
  #gatheredBytes = 0;
  /** For what is read back: made when it is needed, and as large as it has to be. */
  #loaded = 0;
  #loadedCapacityBytes = 0;

  constructor(options: CommitLogOptions, files: MappedFile[], endOffset: number) {
    super(options, files, endOffset);
    this.#capacityBytes = Math.max(BUFFER_SIZE_BYTES, options.geometry.overlapBytes);
    this.#buffer = options.heap.allocate(this.#capacityBytes + BLANK_SIZE_BYTES, 4_096);
  }

  override get appendOffset(): number {
    return this.endOffset + this.#gatheredBytes;
  }

  protected override get unmappedTo(): number {
    return this.endOffset;
  }

  override begin(sizeBytes: number): number {
    const file = this.files.at(-1);
    if (file === undefined || this.appendOffset === file.endOffset) {
      this.writeOut();
      this.roll();
    } else if (!this.fits(file, this.appendOffset, sizeBytes)) {
      this.#endFile(file);
      this.roll();
    } else if (this.#gatheredBytes + sizeBytes > this.#capacityBytes) {
      this.writeOut();
    }
    return this.#buffer + this.#gatheredBytes;
  }

  override advance(sizeBytes: number): void {
    this.#gatheredBytes += sizeBytes;
  }

  override writeOut(): void {
    if (this.#gatheredBytes > 0) this.#write(0);
  }

  /** The blank goes along with what was gathered before it. */
  #endFile(file: MappedFile): void {
    const left = file.endOffset - this.appendOffset;
    encodeBlank(this.options.heap.bytes, this.#buffer + this.#gatheredBytes, left);
    this.#write(BLANK_SIZE_BYTES);
    this.endOffset = file.endOffset;
  }

  #write(blankBytes: number): void {
    const position = this.endOffset;
    const sizeBytes = this.#gatheredBytes;
    this.files.at(-1)!.write(this.options.heap.bytes, this.#buffer, sizeBytes + blankBytes, position);
    this.#gatheredBytes = 0;
    this.endOffset += sizeBytes;
    if (sizeBytes > 0) this.onWritten(this.#buffer, sizeBytes, position);
  }

  override load(position: number, to: number): number {
    const file = this.fileOf(position);
    const sizeBytes = Math.min(to, file.endOffset) - position;
    if (sizeBytes > this.#loadedCapacityBytes) {
      this.#releaseLoaded();
      this.#loaded = this.options.heap.allocate(sizeBytes, 64);
      this.#loadedCapacityBytes = sizeBytes;
    }
    this.loadedAddress = this.#loaded;
    return file.read(this.options.heap.bytes, this.#loaded, sizeBytes, position);
  }

  override release(): void {
    this.options.heap.release(this.#buffer);
    this.#releaseLoaded();
  }

  #releaseLoaded(): void {
    if (this.#loaded !== 0) this.options.heap.release(this.#loaded);
    this.#loaded = 0;
  }
}

/**
 * The LZ4 frame, as Kafka and RocketMQ store it. Little-endian.
 *
 *   bytes  field            unit and meaning
 *       4  magic            0x184D2204
 *       1  flags            bits 7-6 version 01, 5 blocks independent, 4 block checksums, 3 content size,
 *                           2 content checksum, 1 reserved, 0 dictionary id
 *       1  blocks           bits 6-4 largest block: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB; the rest reserved
 *     0|8  contentSize      bytes of the whole content
 *       1  headerChecksum   second byte of XXH32 of the header from the flags on
 *          blocks           u32 size (bit 31: stored raw), bytes, 0|4 XXH32 of those bytes
 *       4  end mark         0
 *     0|4  contentChecksum  XXH32 of the content
 *
 * Frames may follow one another, and skippable ones (0x184D2A50 to …5F, u32 size, bytes) may stand between. We write
 * what Kafka writes: independent blocks of 64 KiB, no checksums, no size, so the header never changes. We read all but
 * frames that need a dictionary of the writer's.
 *
 * Source: lz4_Frame_format.md 1.6.2; Kafka, common/compress/Lz4BlockOutputStream.java.
 */

import lz4 from "lz4-napi";
import { CorruptPayloadError } from "../errors.js";
import { xxh32 } from "./compression-xxhash.js";

const FRAME_MAGIC = 0x184d2204;
const SKIPPABLE_MAGIC = 0x184d2a50;
const HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
const END_MARK = Buffer.alloc(4);
const BLOCK_INPUT_SIZE_BYTES = 64 << 10;
const RAW_FLAG = 0x8000_0000;
/** How far back a block that is not independent may copy from. */
const WINDOW_SIZE_BYTES = 64 << 10;
/** One more byte of length adds at most 255 bytes of output. */
const MAX_EXPANSION = 255;
/** The package's calls take and give the unfolded size, u32, in front of a block. */
const PREFIX_SIZE_BYTES = 4;

export function compressLz4(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [HEADER];
  for (let at = 0; at < bytes.byteLength; at += BLOCK_INPUT_SIZE_BYTES) {
    const input = asBuffer(bytes.subarray(at, at + BLOCK_INPUT_SIZE_BYTES));
    const block = lz4.compressSync(input);
    const sizeBytes = block.byteLength - PREFIX_SIZE_BYTES;
    if (sizeBytes < input.byteLength) {
      block.writeUInt32LE(sizeBytes); // the block's size takes the place of the package's prefix
      parts.push(block);
    } else {
      const header = Buffer.allocUnsafe(4);
      header.writeUInt32LE(RAW_FLAG + input.byteLength);
      parts.push(header, input);
    }
  }
  parts.push(END_MARK);
  return Buffer.concat(parts);
}

/** @throws CorruptPayloadError */
export function decompressLz4(bytes: Uint8Array, maxSizeBytes: number): Uint8Array {
  const reader = new FrameReader(asBuffer(bytes), maxSizeBytes);
  do reader.readFrame();
  while (reader.at < bytes.byteLength);
  return reader.content();
}

class FrameReader {
  at = 0;
  #sizeBytes = 0;
  readonly #parts: Buffer[] = [];

  constructor(
    private readonly source: Buffer,
    private readonly maxSizeBytes: number,
  ) {}

  content(): Uint8Array {
    return this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#sizeBytes);
  }

  readFrame(): void {
    const magic = this.#readUint32();
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
      this.#take(this.#readUint32());
      return;
    }
    if (magic !== FRAME_MAGIC) throw this.#damaged("has no frame's magic");
    const headerAt = this.at;
    const flags = this.#take(1)[0]!;
    const blocks = this.#take(1)[0]!;
    if (flags >> 6 !== 1 || (flags & 0x02) !== 0 || (blocks & 0x8f) !== 0 || blocks >> 4 < 4) {
      throw this.#damaged("has an unknown version or reserved bits");
    }
    if ((flags & 0x01) !== 0) throw this.#damaged("needs a dictionary");
    const isIndependent = (flags & 0x20) !== 0;
    const hasBlockChecksums = (flags & 0x10) !== 0;
    const largestBlockBytes = 1 << (8 + 2 * (blocks >> 4));
    const declaredSizeBytes = (flags & 0x08) === 0 ? -1 : Number(this.#take(8).readBigUInt64LE());
    if (declaredSizeBytes > this.maxSizeBytes - this.#sizeBytes) throw this.#tooLarge();
    const headerChecksum = (xxh32(this.source, headerAt, this.at) >>> 8) & 0xff;
    if (this.#take(1)[0] !== headerChecksum) throw this.#damaged("has a wrong header checksum");

    const firstPart = this.#parts.length;
    const sizeBefore = this.#sizeBytes;
    for (let word = this.#readUint32(); word !== 0; word = this.#readUint32()) {
      const sizeBytes = word & ~RAW_FLAG;
      if (sizeBytes > largestBlockBytes) throw this.#damaged("has a block larger than its frame says");
      const block = this.#take(sizeBytes);
      if (hasBlockChecksums && this.#readUint32() !== xxh32(block, 0, sizeBytes)) {
        throw this.#damaged("has a wrong block checksum");
      }
      const isRaw = word >= RAW_FLAG;
      const part = isRaw ? Buffer.from(block) : this.#unpack(block, largestBlockBytes, isIndependent ? -1 : firstPart);
      this.#sizeBytes += part.byteLength;
      if (this.#sizeBytes > this.maxSizeBytes) throw this.#tooLarge();
      this.#parts.push(part);
    }
    if (declaredSizeBytes !== -1 && this.#sizeBytes - sizeBefore !== declaredSizeBytes) {
      throw this.#damaged(`unfolds to ${this.#sizeBytes - sizeBefore} bytes and says ${declaredSizeBytes}`);
    }
    if ((flags & 0x04) !== 0) {
      const content = Buffer.concat(this.#parts.splice(firstPart));
      this.#parts.push(content);
      if (this.#readUint32() !== xxh32(content, 0, content.byteLength)) {
        throw this.#damaged("has a wrong content checksum");
      }
    }
  }

  /** @param firstLinkedPart first part of the frame if the block may copy from those before it, else -1 */
  #unpack(block: Buffer, largestBlockBytes: number, firstLinkedPart: number): Buffer {
    const leftBytes = this.maxSizeBytes - this.#sizeBytes;
    const capacityBytes = Math.min(largestBlockBytes, leftBytes, block.byteLength * MAX_EXPANSION);
    const prefixed = Buffer.allocUnsafe(PREFIX_SIZE_BYTES + block.byteLength);
    prefixed.writeUInt32LE(capacityBytes);
    prefixed.set(block, PREFIX_SIZE_BYTES);
    try {
      const window = firstLinkedPart === -1 ? null : this.#window(firstLinkedPart);
      return lz4.uncompressSync(prefixed, window);
    } catch (error) {
      const limit = capacityBytes === leftBytes ? ` or unfolds to more than ${this.maxSizeBytes} bytes` : "";
      throw this.#damaged(`is damaged${limit} (${(error as Error).message})`, error);
    }
  }

  /** The frame's last 64 KiB of content so far. */
  #window(firstPart: number): Buffer | null {
    let from = this.#parts.length;
    let sizeBytes = 0;
    while (from > firstPart && sizeBytes < WINDOW_SIZE_BYTES) sizeBytes += this.#parts[--from]!.byteLength;
    if (sizeBytes === 0) return null;
    const parts = this.#parts.slice(from);
    return (parts.length === 1 ? parts[0]! : Buffer.concat(parts)).subarray(-WINDOW_SIZE_BYTES);
  }

  #readUint32(): number {
    return this.#take(4).readUInt32LE();
  }

  #take(sizeBytes: number): Buffer {
    if (sizeBytes > this.source.byteLength - this.at) throw this.#damaged("is cut short");
    this.at += sizeBytes;
    return this.source.subarray(this.at - sizeBytes, this.at);
  }

  #tooLarge(): CorruptPayloadError {
    return new CorruptPayloadError("lz4", `unfolds to more than ${this.maxSizeBytes} bytes`);
  }

  #damaged(what: string, cause?: unknown): CorruptPayloadError {
    return new CorruptPayloadError("lz4", `${what}, before its byte ${this.at}`, { cause });
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

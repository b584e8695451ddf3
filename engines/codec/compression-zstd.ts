/**
 * Zstandard frames (RFC 8878), by Node's own library where it has one (22.15, 23.8 and later), else by WebAssembly.
 *
 * Neither can be asked to bound its memory, and Node's call returns nothing, without an error, for a frame that is cut
 * short and stops at the end of the first frame. So the frames are walked here first, from block header to block header,
 * which shows that they are whole, where each begins, and the most that each can unfold to.
 *
 *   bytes    field
 *       4    magic        0xFD2FB528, or 0x184D2A50 to …5F and a u32 size: skippable
 *       1    descriptor   bits 7-6 size of contentSize, 5 single segment, 3 reserved, 2 checksum, 1-0 size of the
 *                         dictionary id
 *     0|1    window       its size as exponent and eighths; absent in a single segment, whose window is the content
 *   0|1|2|4  dictionary id
 * 0|1|2|4|8  contentSize  bytes; the form of two bytes counts from 256
 *            blocks       u24: bit 0 last, 2-1 type (0 raw, 1 one byte repeated, 2 compressed), 23-3 size; bytes
 *     0|4    checksum
 */

import * as zlib from "node:zlib";
import { CorruptPayloadError } from "../errors.js";

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAX_BLOCK_SIZE_BYTES = 128 << 10;
const DICTIONARY_ID_SIZES = [0, 1, 2, 4];

interface ZstdLibrary {
  readonly name: string;
  compress(bytes: Uint8Array, level: number): Uint8Array;
  /** @param capacityBytes at least 1; an error, not a cut, when the content is larger */
  decompressFrame(frame: Uint8Array, capacityBytes: number): Uint8Array;
}

/** What node:zlib has from 22.15 and 23.8 on; the types of Node 20 do not know it. */
interface ZlibWithZstd {
  readonly zstdCompressSync?: (bytes: Uint8Array, options: { params: Record<number, number> }) => Buffer;
  readonly zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number }) => Buffer;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

const library = nodeLibrary(zlib as ZlibWithZstd) ?? (await wasmLibrary());

export function zstdProvider(): string {
  return library.name;
}

export function compressZstd(bytes: Uint8Array, level: number): Uint8Array {
  return library.compress(bytes, level);
}

/** @throws CorruptPayloadError */
export function decompressZstd(bytes: Uint8Array, maxSizeBytes: number): Uint8Array {
  const walker = new FrameWalker(bytes);
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  do {
    const from = walker.at;
    if (!walker.skipFrame()) continue;
    const leftBytes = maxSizeBytes - sizeBytes;
    if (walker.leastSizeBytes > leftBytes) {
      throw new CorruptPayloadError("zstd", `unfolds to more than ${maxSizeBytes} bytes`);
    }
    const capacityBytes = Math.min(walker.mostSizeBytes, leftBytes);
    const part = unpack(bytes.subarray(from, walker.at), capacityBytes, walker.mostSizeBytes);
    parts.push(part);
    sizeBytes += part.byteLength;
  } while (walker.at < bytes.byteLength);
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

function unpack(frame: Uint8Array, capacityBytes: number, mostSizeBytes: number): Uint8Array {
  let content: Uint8Array;
  try {
    content = library.decompressFrame(frame, Math.max(1, capacityBytes));
  } catch (error) {
    const limit = capacityBytes < mostSizeBytes ? ` or unfolds to more than ${capacityBytes} bytes` : "";
    throw new CorruptPayloadError("zstd", `is damaged${limit} (${(error as Error).message})`, { cause: error });
  }
  if (content.byteLength > capacityBytes) {
    throw new CorruptPayloadError("zstd", `unfolds to more than ${capacityBytes} bytes`);
  }
  return content;
}

/** Walks the frames of a payload; what it says of a frame's content holds for the one walked over last. */
class FrameWalker {
  at = 0;
  leastSizeBytes = 0;
  mostSizeBytes = 0;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @returns false for a skippable frame, which has no content */
  skipFrame(): boolean {
    const magic = this.#read(4);
    if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
      this.#skip(this.#read(4));
      return false;
    }
    if (magic !== FRAME_MAGIC) throw this.#damaged("has no frame's magic");
    const descriptor = this.#read(1);
    if ((descriptor & 0x08) !== 0) throw this.#damaged("has a reserved bit set");
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const window = isSingleSegment ? 0 : this.#read(1);
    if (this.#read(DICTIONARY_ID_SIZES[descriptor & 0x03]!) !== 0) throw this.#damaged("needs a dictionary");
    const declaredSizeBytes = this.#readContentSize(descriptor >> 6, isSingleSegment);
    const windowSizeBytes = isSingleSegment ? declaredSizeBytes : 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
    this.#skipBlocks(Math.min(MAX_BLOCK_SIZE_BYTES, windowSizeBytes));
    if ((descriptor & 0x04) !== 0) this.#skip(4);
    if (declaredSizeBytes === -1) return true;
    if (declaredSizeBytes < this.leastSizeBytes || declaredSizeBytes > this.mostSizeBytes) {
      throw this.#damaged(`says ${declaredSizeBytes} bytes, which its blocks cannot hold`);
    }
    this.leastSizeBytes = declaredSizeBytes;
    this.mostSizeBytes = declaredSizeBytes;
    return true;
  }

  #skipBlocks(largestBlockBytes: number): void {
    this.leastSizeBytes = 0;
    this.mostSizeBytes = 0;
    for (let isLast = false; !isLast; ) {
      const header = this.#read(3);
      const type = (header >> 1) & 3;
      const sizeBytes = header >> 3;
      isLast = (header & 1) !== 0;
      if (type === 3 || sizeBytes > largestBlockBytes) throw this.#damaged("has a block of unknown type or size");
      this.#skip(type === 1 ? 1 : sizeBytes);
      this.leastSizeBytes += type === 2 ? 0 : sizeBytes;
      this.mostSizeBytes += type === 2 ? largestBlockBytes : sizeBytes;
    }
  }

  /** @returns -1 if the frame does not say */
  #readContentSize(form: number, isSingleSegment: boolean): number {
    if (form === 0) return isSingleSegment ? this.#read(1) : -1;
    if (form === 1) return this.#read(2) + 256;
    if (form === 2) return this.#read(4);
    return this.#read(4) + this.#read(4) * 2 ** 32;
  }

  /** Little-endian unsigned number of up to four bytes. */
  #read(sizeBytes: number): number {
    const from = this.at;
    this.#skip(sizeBytes);
    let value = 0;
    for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + this.#view.getUint8(from + i);
    return value;
  }

  #skip(sizeBytes: number): void {
    if (sizeBytes > this.#view.byteLength - this.at) throw this.#damaged("is cut short");
    this.at += sizeBytes;
  }

  #damaged(what: string): CorruptPayloadError {
    return new CorruptPayloadError("zstd", `${what}, before its byte ${this.at}`);
  }
}

function nodeLibrary({ zstdCompressSync, zstdDecompressSync, constants }: ZlibWithZstd): ZstdLibrary | null {
  if (zstdCompressSync === undefined || zstdDecompressSync === undefined) return null;
  const levelParameter = constants.ZSTD_c_compressionLevel!;
  return {
    name: "node:zlib",
    compress: (bytes, level) => zstdCompressSync(bytes, { params: { [levelParameter]: level } }),
    decompressFrame: (frame, capacityBytes) => zstdDecompressSync(frame, { maxOutputLength: capacityBytes }),
  };
}

/** 7 ms to load, which a Node with a library of its own is spared. */
async function wasmLibrary(): Promise<ZstdLibrary> {
  const zstd = await import("@bokuweb/zstd-wasm");
  await zstd.init();
  return {
    name: "@bokuweb/zstd-wasm",
    compress: (bytes, level) => zstd.compress(bytes, level),
    // A frame that says its size is given that; the walk has compared it with the capacity.
    decompressFrame: (frame, capacityBytes) => zstd.decompress(frame, { defaultHeapSize: capacityBytes }),
  };
}

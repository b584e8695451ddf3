import { SysFlag } from "../codec/commitlog-message.js";
import type { Codec } from "../codec/compression.js";

/**
 * What a record's sysFlag says of its body: bit 0 = compressed, bits 8 to 10 = by what; 0 there is zlib, as clients
 * before 5.0 wrote. The body's CRC covers the compressed bytes. Source: RocketMQ, common/sysflag/MessageSysFlag.java,
 * common/compression/CompressionType.java.
 */
const CODEC_MASK = 0x700;
const CODEC_FLAGS = { lz4: 0x100, zstd: 0x200, zlib: 0x300 } as const;

/** The words of the setting: what the format can name. */
export const COMPRESSIONS = ["none", "zlib", "lz4", "zstd"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** What a compressed body may unfold to: the most that maxMessageSizeBytes can be set to. */
export const MAX_UNFOLDED_SIZE_BYTES = 64 << 20;

/** Why a word that another engine knows is none here, as the end of a sentence. */
export function whyNoCompression(word: unknown): string {
  const choices = "use one of none, zlib, lz4 and zstd";
  if (word === "gzip")
    return `a commitlog record cannot say gzip: ${choices} (zlib is the same deflate, differently framed)`;
  if (word === "snappy") return `a commitlog record cannot say snappy, which RocketMQ has not: ${choices}`;
  return choices;
}

/** The bits of sysFlag for bodies that are compressed so. */
export function compressionFlags(codec: Exclude<Compression, "none">): number {
  return SysFlag.COMPRESSED | CODEC_FLAGS[codec];
}

/** What unfolds a body: "none" when it is as it was sent, undefined when the flag names nothing that exists. */
export function codecOfBody(sysFlag: number): Codec | undefined {
  if ((sysFlag & SysFlag.COMPRESSED) === 0) return "none";
  switch (sysFlag & CODEC_MASK) {
    case 0:
    case CODEC_FLAGS.zlib:
      return "zlib";
    case CODEC_FLAGS.lz4:
      return "lz4";
    case CODEC_FLAGS.zstd:
      return "zstd";
    default:
      return undefined;
  }
}

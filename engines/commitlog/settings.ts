import { isIP } from "node:net";
import { z } from "zod";
import { pollingSettings } from "../arrivals.js";
import { transferSetting } from "../consumers.js";
import { flushPolicySchema } from "../flush-policy.js";
import { LOCK_KINDS } from "../writers/lock.js";
import { COMPRESSIONS, MAX_UNFOLDED_SIZE_BYTES, whyNoCompression } from "./body-compression.js";

const MIB = 1_048_576;
/** A record names its size in 31 bits, and a file's blank what the file has left. */
const MAX_FILE_SIZE_BYTES = 0x7fff_ffff;
const UNIT_SIZE_BYTES = 20;
const MAP_GRAIN_BYTES = 65_536;
/** Of the heap's 3 GiB: the window appended to, two behind it, one of the next file, and one that reput catches up in. */
const MAX_MAP_WINDOW_BYTES = 256 * MIB;

const hostSchema = z.string().refine((text) => {
  const parts = HOST_PATTERN.exec(text);
  return parts !== null && isIP(parts[1] ?? parts[2]!) !== 0 && Number(parts[3]) <= 65_535;
}, "give an IP address and a port, as 127.0.0.1:10911 or [::1]:10911");

const HOST_PATTERN = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** Defaults are RocketMQ's, unless README.md beside this file says otherwise; it also says what RocketMQ calls each. */
export const settingsSchema = z
  .strictObject({
    flush: flushPolicySchema.default("async"),
    writePath: z.enum(["mmap", "write"]).default("mmap"),
    assembly: z.enum(["broker", "producer"]).default("broker"),
    indexBuilding: z.enum(["deferred", "inline"]).default("deferred"),
    checksum: z.boolean().default(true),
    compression: z.enum(COMPRESSIONS, { error: ({ input }) => whyNoCompression(input) }).default("none"),
    compressionThresholdBytes: z.int().nonnegative().default(4_096),
    compressionLevel: z.int().min(1).max(9).default(5),
    /** 0 = one by one. */
    batchSizeBytes: z
      .int()
      .nonnegative()
      .max(4 * MIB)
      .default(0),
    lingerMs: z.number().nonnegative().default(0),
    bufferMemoryBytes: z
      .int()
      .positive()
      .default(32 * MIB),
    segmentSizeBytes: z
      .int()
      .min(1_024)
      .max(MAX_FILE_SIZE_BYTES)
      .default(1_024 * MIB),
    preallocate: z.boolean().default(true),
    pageCacheAdvice: z.enum(["none", "random-reads", "drop-behind"]).default("none"),
    warmUp: z.enum(["ahead", "file", "none"]).default("ahead"),
    consumequeueFileSizeBytes: z
      .int()
      .min(UNIT_SIZE_BYTES)
      .max(MAX_FILE_SIZE_BYTES)
      .multipleOf(UNIT_SIZE_BYTES)
      .default(6_000_000),
    /** -1 = for ever. */
    retentionMs: z.int().min(-1).default(259_200_000),
    /** -1 = any. */
    retentionBytes: z.int().min(-1).default(-1),
    retentionCheckMs: z.int().positive().default(10_000),
    keyIndex: z.boolean().default(true),
    keyIndexSlots: z.int().min(1).max(100_000_000).default(5_000_000),
    /** One of them is never used. */
    keyIndexItems: z.int().min(2).max(100_000_000).default(20_000_000),
    maxMessageSizeBytes: z
      .int()
      .positive()
      .max(MAX_UNFOLDED_SIZE_BYTES)
      .default(4 * MIB),
    appendPropertyCrc: z.boolean().default(false),
    forceVerifyPropertyCrc: z.boolean().default(false),
    bornHost: hostSchema.default("127.0.0.1:0"),
    storeHost: hostSchema.default("127.0.0.1:10911"),
    lock: z.enum(LOCK_KINDS).default("blocking"),
    flushIntervalMs: z.number().positive().default(500),
    flushLeastPages: z.int().nonnegative().default(4),
    flushThoroughIntervalMs: z.number().positive().default(10_000),
    consumequeueFlushIntervalMs: z.number().positive().default(1_000),
    consumequeueFlushLeastPages: z.int().nonnegative().default(2),
    consumequeueFlushThoroughIntervalMs: z.number().positive().default(60_000),
    mapWindowBytes: z
      .int()
      .min(MAP_GRAIN_BYTES)
      .max(MAX_MAP_WINDOW_BYTES, {
        error: () =>
          `at most ${MAX_MAP_WINDOW_BYTES}: up to five windows are mapped at once, into a heap of 3 GiB that batches and queues share`,
      })
      .multipleOf(MAP_GRAIN_BYTES)
      .default(64 * MIB),
    ...pollingSettings,
    transfer: transferSetting("copy"),
  })
  .refine((settings) => settings.batchSizeBytes <= settings.bufferMemoryBytes, {
    path: ["batchSizeBytes"],
    message: "a batch has to fit into bufferMemoryBytes",
  });

export type CommitlogSettings = z.infer<typeof settingsSchema>;

/** Address (4 or 16 bytes) and port of a host setting. */
export function parseHost(text: string): { address: Uint8Array; port: number } {
  const parts = HOST_PATTERN.exec(text)!;
  const port = Number(parts[3]);
  if (parts[2] !== undefined) return { address: Uint8Array.from(parts[2].split("."), Number), port };
  return { address: parseV6(parts[1]!), port };
}

function parseV6(text: string): Uint8Array {
  // An embedded IPv4 tail stands for the last two groups.
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(":"),
  );
  const [head = "", tail] = plain.split("::");
  const groupsOf = (part: string | undefined) =>
    part === undefined || part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const front = groupsOf(head);
  const back = groupsOf(tail);
  const groups = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
}

import { z } from "zod";
import { pollingSettings } from "../arrivals.js";
import { COMPRESSIONS } from "../codec/record-batch.js";
import { transferSetting } from "../consumers.js";
import { flushPolicySchema } from "../flush-policy.js";
import { LOCK_KINDS } from "../writers/lock.js";

const MAX_INT32 = 0x7fff_ffff;
const MIB = 1_048_576;

/** Every default is Kafka's; README.md beside this file says what Kafka calls each setting. */
export const settingsSchema = z
  .strictObject({
    flush: flushPolicySchema.default("async"),
    batchSizeBytes: z.int().nonnegative().max(MAX_INT32).default(16_384),
    lingerMs: z.number().nonnegative().default(0),
    bufferMemoryBytes: z
      .int()
      .positive()
      .default(32 * MIB),
    segmentSizeBytes: z
      .int()
      .min(1_024)
      .max(MAX_INT32)
      .default(1_024 * MIB),
    assembly: z.enum(["producer", "broker"]).default("producer"),
    writePath: z.enum(["write", "mmap"]).default("write"),
    /** What `file.map` can begin at. */
    mapWindowBytes: z
      .int()
      .min(65_536)
      .max(64 * MIB)
      .multipleOf(65_536)
      .default(64 * MIB),
    segmentMs: z.number().positive().default(604_800_000),
    indexBuilding: z.enum(["inline", "deferred"]).default("inline"),
    indexIntervalBytes: z.int().nonnegative().default(4_096),
    /** Two entries of the time index at least: one is kept for the roll. */
    indexSizeBytes: z
      .int()
      .min(24)
      .max(MAX_INT32)
      .default(10 * MIB),
    maxMessageBytes: z
      .int()
      .positive()
      .default(MIB + 12),
    compression: z.enum(COMPRESSIONS).default("none"),
    checksum: z.boolean().default(true),
    timestampType: z.enum(["create", "log-append"]).default("create"),
    preallocate: z.boolean().default(false),
    /** -1 = for ever, and as much as there is. */
    retentionMs: z.int().min(-1).default(604_800_000),
    retentionBytes: z.int().min(-1).default(-1),
    retentionCheckMs: z.int().positive().default(300_000),
    fileDeleteDelayMs: z.int().nonnegative().default(60_000),
    pageCacheAdvice: z.enum(["none", "drop-behind", "random-reads", "sequential-reads"]).default("none"),
    lock: z.enum(LOCK_KINDS).default("blocking"),
    ...pollingSettings,
    transfer: transferSetting("sendfile"),
  })
  .refine((settings) => settings.batchSizeBytes <= settings.bufferMemoryBytes, {
    path: ["batchSizeBytes"],
    message: "a batch has to fit into bufferMemoryBytes",
  });

export type PartitionedLogSettings = z.infer<typeof settingsSchema>;

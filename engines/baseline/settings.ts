import { z } from "zod";
import { flushPolicySchema } from "../flush-policy.js";

const MIB = 1_048_576;

/**
 * The words that all engines share (README.md lists them), so that one scenario runs on every engine. A baseline takes
 * them all; each says which of them mean something to it.
 */
export const baselineSettingsSchema = z.strictObject({
  flush: flushPolicySchema.default("async"),
  batchSizeBytes: z.int().nonnegative().default(16_384),
  lingerMs: z.number().nonnegative().default(0),
  bufferMemoryBytes: z
    .int()
    .positive()
    .default(32 * MIB),
  segmentSizeBytes: z
    .int()
    .positive()
    .default(1_024 * MIB),
  indexIntervalBytes: z.int().nonnegative().default(4_096),
  preallocate: z.boolean().default(false),
});

export type BaselineSettings = z.infer<typeof baselineSettingsSchema>;

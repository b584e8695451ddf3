/** What passes between the command and the probe's process. */
import { z } from "zod";

export const probeInputSchema = z.strictObject({
  directory: z.string(),
  /** For each of the measurements. */
  durationMs: z.number().positive(),
  /** Bound on what a sequential measurement writes; the file that the reads use. */
  fileSizeBytes: z.int().positive(),
  seed: z.int(),
});
export type ProbeInput = z.infer<typeof probeInputSchema>;

/** The engines' default batch, a page, and a block large enough for the device's full bandwidth. */
export const BATCH_SIZE_BYTES = 16 * 1024;
export const PAGE_SIZE_BYTES = 4096;
export const LARGE_SIZE_BYTES = 1024 * 1024;

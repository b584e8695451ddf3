/** What passes between the gate and a recovery's process; both sides validate what they receive. */
import { z } from "zod";

export const recoveryInputSchema = z.strictObject({
  /** `write`: append, be acknowledged, and die without closing. `open`: open what is there, timed. */
  task: z.enum(["write", "open"]),
  /** Directory of the build whose engine it is. */
  build: z.string(),
  engine: z.string(),
  directory: z.string(),
  settings: z.record(z.string(), z.unknown()),
  partitionCount: z.int().positive(),
  messageCount: z.int().positive(),
  messageSizeBytes: z.int().positive(),
});

export const recoveryOutcomeSchema = z.strictObject({
  /** Of opening; 0 for `write`. */
  durationNs: z.number().nonnegative(),
  /** Messages acknowledged (`write`), or found (`open`). */
  messageCount: z.int().nonnegative(),
});

export type RecoveryInput = z.infer<typeof recoveryInputSchema>;

/** What passes between the command and a trial's process; both sides validate what they receive. */
import { z } from "zod";
import { configurationSchema, measuredSchema, verificationSchema } from "../results/schema.js";

/** How a warning begins that says that acknowledgements meant less than the engine says. */
export const BROKEN_CLAIM = "The engine claims";

export const trialInputSchema = z.strictObject({
  /** Name in the registry, or absolute path of a third party's module. */
  engine: z.string(),
  /** Fresh and empty; the engine's alone. */
  directory: z.string(),
  configuration: configurationSchema,
  seed: z.int().nonnegative(),
  limits: z.strictObject({
    warmup: z.strictObject({
      minimumNs: z.number(),
      maximumNs: z.number(),
      maximumMessages: z.int().positive(),
      binNs: z.number(),
      windowBins: z.int(),
    }),
    measure: z.strictObject({ durationNs: z.number(), maximumMessages: z.int().positive() }),
  }),
  sampleIntervalMs: z.number(),
  deviceStatPath: z.string().nullable(),
});

export const trialOutcomeSchema = z.discriminatedUnion("status", [
  z.strictObject({
    status: z.literal("ok"),
    measured: measuredSchema,
    verification: verificationSchema,
    warnings: z.array(z.string()),
  }),
  z.strictObject({
    status: z.literal("failed"),
    /**
     * `rate`: the engine was too slow for an open load, or for the interval, which is a finding and no fault. `input`: what the trial was to
     * send is not there any more, which no other trial will find otherwise.
     */
    kind: z.enum(["engine", "data", "rate", "input"]),
    failures: z.array(z.string()).min(1),
    /** Of kind `rate`: how it fell behind. */
    measured: measuredSchema.nullable(),
    verification: verificationSchema.nullable(),
    warnings: z.array(z.string()),
  }),
]);

export type TrialInput = z.infer<typeof trialInputSchema>;
export type TrialOutcome = z.infer<typeof trialOutcomeSchema>;

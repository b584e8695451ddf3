/** Grades the trials of a gate as those of a run are graded, as far as the build that ran them tells enough. */
import { totalmem } from "node:os";
import { measuredSchema, verificationSchema } from "../../results/schema.js";
import { gradeTrial, type Validity } from "../../results/validity.js";
import type { OkAnswer } from "./trial-exchange.js";

/** The gate probes no device: whether a sync is free is the same for both sides, and so is what others write, on average. */
const CIRCUMSTANCES = { memoryBytes: totalmem(), isSyncFree: null, allowsNeighbours: true };

/** Null for the answer of a build that tells less, or other things, than this one: nothing is held against it. */
export function gradeAnswer(
  { measured, verification }: OkAnswer,
  engine: string,
  settings: Readonly<Record<string, unknown>>,
): Validity | null {
  const known = measuredSchema.safeParse(measured);
  const verified = verificationSchema.safeParse(verification);
  if (!known.success || !verified.success) return null;
  const trial = {
    engine,
    configuration: { settings: { ...settings } },
    // What was sent late stands in the response times: an engine that falls behind is slow, and no less to be believed.
    measured: { ...known.data, backlogAtEnd: null },
    verification: verified.data,
  };
  return gradeTrial(trial, CIRCUMSTANCES);
}

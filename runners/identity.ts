/** What a trial's figures depend on, as one hash: a resumed run takes over a trial only if nothing of it has changed. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import type { Run } from "../results/schema.js";
import type { PlannedTrial } from "./plan.js";
import type { Profile } from "./scenario.js";

/** What all trials of a run have in common. */
export interface Origin {
  readonly code: Run["code"];
  readonly fingerprint: string;
  readonly profile: Profile;
}

/**
 * Of configuration, seed, code and machine; the place in the run and the budget do not belong to it, nor does the rate of
 * an open load, which follows from the closed trials of the same run, or the time that follows from the run's probe.
 */
export function identityOf(planned: PlannedTrial, { code, fingerprint, profile }: Origin): string {
  const { trialId, scenarioId, engine, source, point, repetition, phase, limits, seed, configuration, load } = planned;
  const { warmup, measureMs, syncMeasure, maximumBytes, sampleIntervalMs } = profile;
  const identity = [
    [trialId, scenarioId, engine, contentHash(source), point, repetition, phase, limits, seed, configuration, load],
    [warmup, measureMs, syncMeasure ?? null, maximumBytes, sampleIntervalMs],
    [code.version, code.hash, fingerprint],
  ];
  return createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 16);
}

/** Of a third party's module what it holds; an engine of the registry is part of the code. */
function contentHash(source: string): string {
  const isAddress = source.startsWith("file:");
  if (!isAddress && !isAbsolute(source)) return source;
  const path = isAddress ? fileURLToPath(new URL(new URL(source).pathname, "file:")) : source;
  if (!existsSync(path)) return source;
  return createHash("sha256").update(source).update(readFileSync(path)).digest("hex");
}

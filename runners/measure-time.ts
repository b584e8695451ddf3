import type { MeasureTime, ProbeResult } from "../results/schema.js";
import { syncCost } from "../results/sync-cost.js";
import type { PlannedTrial } from "./plan.js";
import type { Profile } from "./scenario.js";

/** Samples beyond a percentile that publish it (method rule 27). */
const SAMPLES_BEYOND = 100;
const PERCENTILES = [99.99, 99.9, 99, 90, 50];
/** What fractions lose that no binary number has. */
const ROUNDING = 1e-9;
/** Of the messages in flight for one file, how many share a sync at least: the others came while one was under way. */
const SHARING = 1 / 2;

/**
 * How long a trial is measured whose acknowledgements wait for a sync: as long as the profile's percentile needs for its
 * samples at the rate that the probe promises, from the profile's own time up to its longest. The promise is a low one:
 * files are synced one after the other, each for half of what is in flight for it.
 * @param ratePerSecond of an open load; else null
 * @returns null where acknowledgements wait for no sync, or nothing is known of one: the profile's own time
 */
export function measureTimeOf(
  { configuration, load }: Pick<PlannedTrial, "configuration" | "load">,
  ratePerSecond: number | null,
  { measureMs, syncMeasure }: Pick<Profile, "measureMs" | "syncMeasure">,
  probe: readonly ProbeResult[],
): MeasureTime | null {
  const { appendNs } = syncCost(probe);
  if (syncMeasure === undefined || appendNs === null || configuration.settings.flush !== "sync") return null;
  const syncsPerSecond = 1e9 / appendNs;
  const { topicCount, partitionsPerTopic } = configuration.topology;
  const shared = Math.max(1, Math.floor((load.inFlight * SHARING) / (topicCount * partitionsPerTopic)));
  const expectedPerSecond = ratePerSecond ?? syncsPerSecond * shared;
  const neededMs = (1_000 * SAMPLES_BEYOND) / (1 - syncMeasure.percentile / 100) / expectedPerSecond;
  const chosenMs = Math.min(Math.max(measureMs, neededMs), Math.max(measureMs, syncMeasure.maximumMs));
  const samples = (expectedPerSecond * chosenMs) / 1_000;
  const publishes = PERCENTILES.find(
    (percentile) =>
      percentile <= syncMeasure.percentile && samples * (1 - percentile / 100) >= SAMPLES_BEYOND * (1 - ROUNDING),
  );
  return {
    durationNs: Math.round(chosenMs * 1e6),
    profileNs: measureMs * 1e6,
    syncsPerSecond,
    expectedPerSecond,
    percentile: syncMeasure.percentile,
    publishedPercentile: publishes ?? null,
  };
}

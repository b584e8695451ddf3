import type { MeasureTime, ProbeResult } from "../results/schema.js";
import { syncCost } from "../results/sync-cost.js";
import type { PlannedTrial } from "./plan.js";
import type { Profile } from "./scenario.js";

/** Samples beyond a percentile that publish it (method rule 27). */
const SAMPLES_BEYOND = 100;
/** Of the messages in flight for one file, how many share a sync at least: the others came while one was under way. */
const SHARING = 1 / 2;
/**
 * Of the probe's rate. With one message in flight `raw` and the engines reached between a twelfth and two thirds of it: files
 * that grow have metadata to sync, and a batch may wait for the next turn of the event loop.
 */
const PROMISED = 1 / 12;

/**
 * How long a trial is measured whose acknowledgements wait for a sync: as long as the profile's percentile needs for its
 * samples at the rate that the probe promises, from the profile's own time up to its longest. The promise is a low one:
 * a share of the probe's rate, files synced one after the other, each for half of what is in flight for it.
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
  const expectedPerSecond = ratePerSecond ?? PROMISED * syncsPerSecond * shared;
  const neededMs = (1_000 * SAMPLES_BEYOND) / (1 - syncMeasure.percentile / 100) / expectedPerSecond;
  const chosenMs = Math.min(Math.max(measureMs, neededMs), Math.max(measureMs, syncMeasure.maximumMs));
  return {
    durationNs: Math.round(chosenMs * 1e6),
    profileNs: measureMs * 1e6,
    syncsPerSecond,
    expectedPerSecond,
    percentile: syncMeasure.percentile,
  };
}

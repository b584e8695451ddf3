/** How long trials were measured whose acknowledgements wait for a sync, and what that leaves unpublished, in sentences. */

import type { MeasureTime, Trial } from "../results/schema.js";
import { formatRate, formatTime, percentileName } from "./format.js";
import { countWords } from "./words.js";

/** One sentence for each time and what it publishes; empty where the profile's own time held for all. */
export function measureTimeSentences(trials: readonly Trial[]): string[] {
  const groups = new Map<string, { time: MeasureTime; cells: Set<string> }>();
  for (const { measureTime, trialId } of trials) {
    if (measureTime === undefined) continue;
    const key = JSON.stringify([measureTime.durationNs, measureTime.publishedPercentile]);
    const group = groups.get(key) ?? { time: measureTime, cells: new Set() };
    group.cells.add(trialId.slice(0, trialId.lastIndexOf("/")));
    groups.set(key, group);
  }
  return [...groups.values()].map(({ time, cells }) => sentence(time, cells.size));
}

function sentence(time: MeasureTime, cellCount: number): string {
  const { durationNs, profileNs, syncsPerSecond, percentile, publishedPercentile } = time;
  const longer = durationNs > profileNs ? ` instead of ${formatTime(profileNs)}` : "";
  const begin = `${countWords(cellCount, "cell")} whose acknowledgements wait for a sync: measured for ${formatTime(durationNs)} a trial${longer}, since the probe synced appends at ${formatRate(syncsPerSecond)}`;
  if (publishedPercentile === percentile) {
    return `${begin}: enough for 100 samples beyond the ${percentileName(percentile)}.`;
  }
  const beyond =
    publishedPercentile === null
      ? "a single trial publishes no percentile"
      : `percentiles beyond ${publishedPercentile === 50 ? "the median" : percentileName(publishedPercentile)} are not published of a single trial`;
  return `${begin}: not enough time in this profile for ${percentileName(percentile)}, ${beyond}.`;
}

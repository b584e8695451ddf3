/** How long trials were measured whose acknowledgements wait for a sync, and what that leaves unpublished, in sentences. */

import type { MeasureTime, Trial } from "../results/schema.js";
import { formatRate, formatTime, percentileName } from "./format.js";
import { highestPublished } from "./histograms.js";
import { countWords } from "./words.js";

/** Repetitions of one engine at one point under one load. */
interface Cell {
  time: MeasureTime;
  /** Of the trial that has fewest. */
  sampleCount: number;
}

/** One sentence for each time and what it published; empty where the profile's own time held for all. */
export function measureTimeSentences(trials: readonly Trial[]): string[] {
  const cells = new Map<string, Cell>();
  for (const { measureTime, trialId, status, measured } of trials) {
    if (measureTime === undefined || status === "failed") continue;
    const name = trialId.slice(0, trialId.lastIndexOf("/"));
    const { sampleCount } = measured!.responseTime;
    const known = cells.get(name)?.sampleCount ?? sampleCount;
    cells.set(name, { time: measureTime, sampleCount: Math.min(known, sampleCount) });
  }
  const groups = new Map<string, Cell[]>();
  for (const cell of cells.values()) {
    const key = JSON.stringify([cell.time.durationNs, publishedOf(cell)]);
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()].map(sentence);
}

/** None above the one that the time was for. */
function publishedOf({ time, sampleCount }: Cell): number | null {
  const highest = highestPublished(sampleCount);
  return highest === null ? null : Math.min(highest, time.percentile);
}

function sentence(cells: readonly Cell[]): string {
  const [first] = cells;
  const { durationNs, profileNs, syncsPerSecond, percentile } = first!.time;
  const published = publishedOf(first!);
  const longer = durationNs > profileNs ? ` instead of ${formatTime(profileNs)}` : "";
  const begin = `${countWords(cells.length, "cell")} whose acknowledgements wait for a sync: measured for ${formatTime(durationNs)} a trial${longer}, since the probe synced appends at ${formatRate(syncsPerSecond)}`;
  if (published === percentile) return `${begin}: enough for 100 samples beyond the ${percentileName(percentile)}.`;
  const beyond =
    published === null
      ? "a single trial publishes no percentile"
      : `percentiles beyond ${published === 50 ? "the median" : percentileName(published)} are not published of a single trial`;
  return `${begin}: not enough time in this profile for ${percentileName(percentile)}, ${beyond}.`;
}

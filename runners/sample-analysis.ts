/** What a trial's samples say about it as a whole. Pure. */
import type { Sample } from "../results/schema.js";
import { median } from "../results/statistics.js";
import type { CauseEvent } from "./tail-causes.js";

/** Stolen from all processors together, within one interval. */
const STEAL_FRACTION = 0.05;
/** A burst writes twice what the median interval does, and keeps the device busy for half of its interval or more. */
const BURST_FACTOR = 2;
const BURST_UTILISATION = 0.5;
const BURST_BYTES_PER_SECOND = 8 << 20;
/** Fewer samples show no course. */
const LEAST_SAMPLES = 4;
/** Growth of less is the collector's own, and of less a message an index. */
const LEAK_BYTES = 64 << 20;
const LEAK_BYTES_PER_MESSAGE = 16;

/** Intervals in which the machine was taken away or busy writing back. @param startedNs of the first interval */
export function eventsOfSamples(samples: readonly Sample[], startedNs: number): CauseEvent[] {
  const bytesPerSecond = ({ deviceWrittenBytes, durationNs }: Sample) => ((deviceWrittenBytes ?? 0) * 1e9) / durationNs;
  const usual = samples.length === 0 ? 0 : median(samples.map(bytesPerSecond));
  const isBurst = (sample: Sample) =>
    bytesPerSecond(sample) >= Math.max(BURST_FACTOR * usual, BURST_BYTES_PER_SECOND) &&
    (sample.deviceUtilisation ?? 0) >= BURST_UTILISATION;
  return samples.flatMap((sample) => {
    const endNs = startedNs + sample.atNs;
    const interval = { startNs: endNs - sample.durationNs, endNs };
    const events: CauseEvent[] = [];
    if ((sample.stealFraction ?? 0) >= STEAL_FRACTION) events.push({ cause: "steal", ...interval });
    if (isBurst(sample)) events.push({ cause: "writeback", ...interval });
    return events;
  });
}

/**
 * The Theil–Sen slope of anonymous memory (the median over all pairs of samples, which no single jump moves).
 * @param fromNs only samples from here on, on their own clock @returns bytes a second; null with too few samples
 */
export function memoryGrowth(samples: readonly Sample[], fromNs: number): number | null {
  const points = samples.flatMap(({ atNs, detail }) =>
    atNs >= fromNs && detail !== null && detail.anonymousBytes !== null ? [{ atNs, bytes: detail.anonymousBytes }] : [],
  );
  if (points.length < LEAST_SAMPLES) return null;
  const slopes = points.flatMap((a, i) => points.slice(i + 1).map((b) => (b.bytes - a.bytes) / (b.atNs - a.atNs)));
  return median(slopes) * 1e9;
}

/** A warning, if memory grew as if messages were kept; else null. */
export function leakWarning(
  growthBytesPerSecond: number | null,
  messageCount: number,
  durationNs: number,
): string | null {
  if (growthBytesPerSecond === null) return null;
  const grownBytes = (growthBytesPerSecond * durationNs) / 1e9;
  const bytesPerMessage = grownBytes / messageCount;
  if (grownBytes < LEAK_BYTES || bytesPerMessage < LEAK_BYTES_PER_MESSAGE) return null;
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  return `Memory that belongs to no file grew by ${megabytes(growthBytesPerSecond)} MB/s, ${bytesPerMessage.toFixed(0)} bytes a message, ${megabytes(grownBytes)} MB within the measured interval: the engine keeps what it should let go, and would run out of memory.`;
}

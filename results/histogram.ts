/** Stored histograms read back. */
import { decodeFromCompressedBase64, type JsHistogram } from "hdr-histogram-js";
import type { EncodedHistogram } from "./schema.js";

/** The run's file was changed or cut by other hands than ours. */
export class DamagedHistogramError extends Error {
  override name = "DamagedHistogramError";
}

/** @throws DamagedHistogramError */
export function decodeHistogram({ encoded }: EncodedHistogram): JsHistogram {
  try {
    // Counts of 8 and 16 bits wrap in silence, and 32 would in a long run.
    return decodeFromCompressedBase64(encoded, 64, false) as JsHistogram;
  } catch (cause) {
    throw new DamagedHistogramError("A latency histogram of the run is damaged and cannot be decoded.", { cause });
  }
}

/**
 * In nanoseconds; null where it lies among the samples above the recorded range, or there are none.
 * @throws DamagedHistogramError
 */
export function percentileNs(histogram: EncodedHistogram, percent: number): number | null {
  const { sampleCount, overflowCount } = histogram;
  const beyond = Math.ceil(sampleCount * (1 - percent / 100));
  if (sampleCount === 0 || overflowCount > beyond) return null;
  return decodeHistogram(histogram).getValueAtPercentile(percent);
}

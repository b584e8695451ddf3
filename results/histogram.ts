/** Stored histograms read back where one percentile is all that is needed. */
import { decodeFromCompressedBase64 } from "hdr-histogram-js";
import type { EncodedHistogram } from "./schema.js";

/** In nanoseconds; null where it lies among the samples above the recorded range, or there are none. */
export function percentileNs(
  { encoded, sampleCount, overflowCount }: EncodedHistogram,
  percent: number,
): number | null {
  const beyond = Math.ceil(sampleCount * (1 - percent / 100));
  if (sampleCount === 0 || overflowCount > beyond) return null;
  return decodeFromCompressedBase64(encoded, 64, false).getValueAtPercentile(percent);
}

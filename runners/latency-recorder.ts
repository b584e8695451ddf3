import { build, encodeIntoCompressedBase64 } from "hdr-histogram-js";
import type { EncodedHistogram } from "../results/schema.js";

/** What the range holds at most: 60 s. */
const HIGHEST_NS = 60_000_000_000;
/** Two buckets of half of it tell three digits apart. */
const SUB_BUCKETS = 2048;
const HALF = SUB_BUCKETS / 2;
const HALF_BITS = 10;
/** Sub-buckets of 1 ns, and 25 doublings of their width: up to 2^36 ns. */
export const BUCKET_COUNT = (25 + 2) * HALF;

/**
 * Latencies in the buckets of an HdrHistogram of fixed range (1 ns to 60 s, 3 digits). Recording one costs a few
 * nanoseconds and allocates nothing. The counts may lie in shared memory and only ever rise: what another thread sees at
 * two moments differs by what was recorded between them. What the range cannot hold is counted apart, never capped.
 */
export class LatencyRecorder {
  readonly #counts: Float64Array<ArrayBufferLike>;
  #overflowCount = 0;

  /** @param counts `BUCKET_COUNT` zeros */
  constructor(counts: Float64Array<ArrayBufferLike> = new Float64Array(BUCKET_COUNT)) {
    this.#counts = counts;
  }

  /** `latencyNs` is not negative; fractions of a nanosecond are cut. */
  record(latencyNs: number): void {
    if (latencyNs > HIGHEST_NS) this.#overflowCount++;
    else this.#counts[bucketOf(latencyNs)]!++;
  }

  get sampleCount(): number {
    return this.#counts.reduce((sum, count) => sum + count, this.#overflowCount);
  }

  /** The lowest latency that at most `limit` recorded ones reached or exceeded, to three digits; and how many did. */
  reachedByAtMost(limit: number): { latencyNs: number; count: number } {
    let beyond = this.#overflowCount;
    let bucket = BUCKET_COUNT - 1;
    while (bucket >= 0 && beyond + this.#counts[bucket]! <= limit) beyond += this.#counts[bucket--]!;
    return { latencyNs: lowestOf(bucket + 1), count: beyond };
  }

  encode(): EncodedHistogram {
    return { ...encodeCounts(this.#counts, 3), overflowCount: this.#overflowCount };
  }
}

/** @param digits of the histogram: fewer make it smaller */
export function encodeCounts(counts: Float64Array, digits: 2 | 3): EncodedHistogram {
  const histogram = build({
    bitBucketSize: 64,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_NS,
    numberOfSignificantValueDigits: digits,
  });
  let sampleCount = 0;
  for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
    const count = counts[bucket]!;
    if (count === 0) continue;
    sampleCount += count;
    histogram.recordValueWithCount(lowestOf(bucket), count);
  }
  return { encoded: encodeIntoCompressedBase64(histogram), sampleCount, overflowCount: 0 };
}

/** HdrHistogram's: the first `SUB_BUCKETS` are 1 ns wide, every `HALF` after them twice as wide as those before. */
function bucketOf(latencyNs: number): number {
  if (latencyNs < SUB_BUCKETS) return latencyNs | 0;
  // 32-bit shifts do up to 2^31 ns; what is longer is divided first, which cuts bits that its bucket does not tell apart.
  if (latencyNs >= 2 ** 31) return bucketOf(latencyNs / SUB_BUCKETS) + (HALF_BITS + 1) * HALF;
  const shift = 31 - HALF_BITS - Math.clz32(latencyNs);
  return shift * HALF + (latencyNs >>> shift);
}

function lowestOf(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const shift = Math.floor(bucket / HALF) - 1;
  return ((bucket % HALF) + HALF) * 2 ** shift;
}

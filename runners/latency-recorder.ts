import { build, encodeIntoCompressedBase64, initWebAssemblySync } from "hdr-histogram-js";
import type { EncodedHistogram } from "../results/schema.js";

/** What the range holds at most: 60 s. */
const HIGHEST_NS = 60_000_000_000;

initWebAssemblySync();

/**
 * Latencies in an HdrHistogram of fixed range (1 ns to 60 s, 3 digits); recording one costs about 25 ns and allocates
 * nothing. hdr-histogram-js's WebAssembly build with 64-bit buckets: its smaller buckets wrap silently. What the range
 * cannot hold is counted apart, never capped.
 */
export class LatencyRecorder {
  readonly #histogram = build({
    useWebAssembly: true,
    bitBucketSize: 64,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_NS,
    numberOfSignificantValueDigits: 3,
  });
  #overflowCount = 0;
  #sampleCount = 0;

  /** `latencyNs` is not negative; fractions of a nanosecond are cut. */
  record(latencyNs: number): void {
    if (latencyNs > HIGHEST_NS) {
      this.#overflowCount++;
      return;
    }
    this.#sampleCount++;
    this.#histogram.recordValue(latencyNs);
  }

  encode(): EncodedHistogram {
    return {
      encoded: encodeIntoCompressedBase64(this.#histogram),
      sampleCount: this.#sampleCount,
      overflowCount: this.#overflowCount,
    };
  }
}

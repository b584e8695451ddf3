/** One process of a duet: the null engine in a closed loop from a given moment on, with or without the sampler. */
import { driveNull, duetInputSchema } from "./null-load.js";

/** A loop that has not run this long is still being compiled. */
const LEAST_WARMUP_NS = 500e6;

process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(1));
process.once("message", async (message) => {
  const { sampleIntervalMs, deviceStatPath, threadPoolSize, startAtMs, durationNs } = duetInputSchema.parse(message);
  const { lagP99Ns: _, ...answer } = await driveNull({
    load: { model: "closed", inFlight: 1_024, producers: 1 },
    messageSizeBytes: 256,
    sampling: sampleIntervalMs === null ? null : { intervalMs: sampleIntervalMs, deviceStatPath, threadPoolSize },
    warmup: () => {
      const leftNs = (startAtMs - Date.now()) * 1e6;
      if (leftNs < LEAST_WARMUP_NS) throw new Error("It was too late to begin at the same time as the other");
      const maximumMessages = Number.MAX_SAFE_INTEGER;
      return { minimumNs: leftNs, maximumNs: leftNs, maximumMessages, binNs: 1e8, windowBins: 3 };
    },
    durationNs,
  });
  process.send!(answer, () => process.exit(0));
});

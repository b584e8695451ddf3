/** One process of a duet: the null engine in a closed loop from a given moment on, with or without the sampler. */
import type { z } from "zod";
import { driveNull, type duetAnswerSchema, duetInputSchema } from "./null-load.js";

/** A loop that has not run this long is still being compiled. */
const LEAST_WARMUP_NS = 500e6;

process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(1));
process.once("message", async (message) => {
  const { sampleIntervalMs, deviceStatPath, threadPoolSize, startAtMs, durationNs } = duetInputSchema.parse(message);
  const driven = await driveNull({
    load: { model: "closed", inFlight: 1_024, producers: 1 },
    messageSizeBytes: 256,
    sampling: sampleIntervalMs === null ? null : { intervalMs: sampleIntervalMs, deviceStatPath, threadPoolSize },
    warmup: () => {
      const leftNs = (startAtMs - Date.now()) * 1e6;
      if (leftNs < LEAST_WARMUP_NS) return null;
      const maximumMessages = Number.MAX_SAFE_INTEGER;
      return { minimumNs: leftNs, maximumNs: leftNs, maximumMessages, binNs: 1e8, windowBins: 3 };
    },
    durationNs,
  });
  const answer: z.infer<typeof duetAnswerSchema> =
    driven === null ? null : { messageCount: driven.messageCount, cpuNs: driven.cpuNs, durationNs: driven.durationNs };
  process.send!(answer, () => process.exit(0));
});

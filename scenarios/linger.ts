import { defineScenario } from "../runners/scenario.js";

/**
 * Linger holds a message back so that others may share its batch. Without it a batch holds what came in while the one
 * before it was written. Open loop at half the capacity: latency counts from the moment a message was due.
 */
export default defineScenario({
  id: "linger",
  title: "Linger",
  question: "What does a longer linger cost in response time at half the capacity?",
  expectation: "The median response time rises by about the linger, unless batches fill before it ends.",
  refutedIf: "The median response time at the longest linger is less than twice that without linger.",
  figure: "responseTime",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 8 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async", batchSizeBytes: 16_384 },
  load: {
    inFlight: 1_024,
    open: {
      capacityFractions: { smoke: [0.5], quick: [0.5], full: [0.5] },
      arrivals: { smoke: ["poisson"], quick: ["poisson"], full: ["poisson"] },
    },
  },
  vary: [
    {
      path: "settings.lingerMs",
      label: "linger (ms)",
      values: { smoke: [5], quick: [0, 5], full: [0, 1, 5, 20, 100] },
    },
  ],
});

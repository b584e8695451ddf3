import { defineScenario } from "../runners/scenario.js";

/**
 * One log per partition turns one stream of writes into many, and spreads what is in flight over more, smaller batches;
 * the commitlog keeps one file and pays with a consumequeue entry per message. The window of 16 384 messages fills
 * 16 KiB batches of 1 000 partitions.
 */
export default defineScenario({
  id: "many-partitions",
  title: "Many partitions",
  question: "How does throughput change as the same bytes spread over more and more partitions of one topic?",
  expectation:
    "The partitioned log loses throughput with every step, because its writes scatter over files; the commitlog stays level.",
  refutedIf:
    "The partitioned log keeps more than 80 % of its throughput from the first to the last point, or the commitlog loses more than 20 %.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 1 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: { inFlight: 16_384 },
  vary: [
    {
      path: "topology.partitionsPerTopic",
      label: "partitions",
      values: { smoke: [1, 16], quick: [1, 16, 256], full: [1, 4, 16, 64, 256, 1_000, 4_000, 10_000] },
    },
  ],
});

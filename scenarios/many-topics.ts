import { defineScenario } from "../runners/scenario.js";

/**
 * Topics are directories to the partitioned log and names to the commitlog. A published test saw 98 % of the throughput
 * go from 64 to 256 topics of 8 partitions on the one side and 16 % on the other.
 */
export default defineScenario({
  id: "many-topics",
  title: "Many topics",
  question: "How does throughput change with the number of topics of 8 partitions each?",
  expectation: "Many topics cost the partitioned log much of its throughput and the commitlog little.",
  refutedIf: "From the first to the last point the partitioned log loses no more than the commitlog.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 8 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: { inFlight: 16_384 },
  vary: [
    {
      path: "topology.topicCount",
      label: "topics of 8 partitions",
      values: { smoke: [4], quick: [1, 32], full: [1, 4, 16, 64, 128, 256] },
    },
  ],
});

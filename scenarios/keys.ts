import { defineScenario } from "../runners/scenario.js";

/**
 * A batch holds messages of one partition. A producer without keys stays with a partition until a batch is full; keys
 * spread each moment's messages over all of them. The commitlog gathers by queue only where it batches at all.
 */
export default defineScenario({
  id: "keys",
  title: "Keys",
  question: "What does spreading keyed messages over many partitions cost?",
  expectation:
    "Sticky batches are full; keyed ones hold what a partition got in the same time, so they are small and many.",
  refutedIf: "Keyed messages reach at least 90 % of the throughput of sticky ones in both engines.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 100 },
  messages: { sizeBytes: 256, compressibleFraction: 0.5 },
  settings: { flush: "async", batchSizeBytes: 16_384 },
  load: { inFlight: 1_024, producers: 4 },
  vary: [
    {
      path: "messages.keys",
      label: "partition chosen",
      values: { smoke: ["uniform"], quick: ["sticky", "uniform"], full: ["round-robin", "sticky", "uniform", "zipf"] },
    },
    {
      path: "topology.partitionsPerTopic",
      label: "partitions",
      values: { smoke: [16], quick: [100], full: [10, 100, 1_000] },
    },
  ],
});

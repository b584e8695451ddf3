import { defineScenario } from "../runners/scenario.js";

/**
 * What waiting for the device costs, and what concurrency gives back: under `sync` appends that wait together share one
 * fdatasync. The partitioned log has one file per partition to sync, the commitlog one in all.
 */
export default defineScenario({
  id: "flush-policy",
  title: "Flush policy",
  question: "What does each flush policy cost, by messages in flight and by partitions?",
  expectation:
    "Under sync both gain with messages in flight, as they share syncs; over many partitions the partitioned log gains far less than the commitlog.",
  refutedIf:
    "Under sync, with the most partitions and messages in flight, the partitioned log acknowledges at least 80 % of what the commitlog does.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 1 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: {},
  load: { inFlight: 1 },
  vary: [
    {
      path: "settings.flush",
      label: "flush policy",
      values: {
        smoke: ["async", { every: { messages: 1_000 } }, "sync"],
        // `every` acknowledges as `async` does, and the time is better spent on longer trials under `sync`.
        quick: ["async", "sync"],
        full: ["async", { every: { messages: 1_000 } }, { every: { ms: 500 } }, "sync"],
      },
    },
    {
      path: "load.inFlight",
      label: "messages in flight",
      values: { smoke: [64], quick: [1, 256], full: [1, 16, 64, 256, 1_024] },
    },
    {
      path: "topology.partitionsPerTopic",
      label: "partitions",
      values: { smoke: [1], quick: [1, 64], full: [1, 16, 64, 256, 1_000] },
    },
  ],
});

import { defineScenario } from "../runners/scenario.js";

/** A batch shares one header, one checksum and one write; 0 sends messages one by one, as RocketMQ's `send` does. */
export default defineScenario({
  id: "batch-size",
  title: "Batch size",
  question: "What is a larger batch worth to each engine?",
  expectation:
    "The partitioned log gains many times over, because each batch is one system call; the commitlog, which stores into mapped memory, gains little.",
  refutedIf: "From one message to the largest batch the partitioned log gains less than twice its throughput.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 4 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: { inFlight: 4_096 },
  vary: [
    {
      path: "settings.batchSizeBytes",
      label: "batch size (bytes)",
      values: {
        smoke: [0, 16_384],
        quick: [0, 16_384],
        full: [0, 4_096, 16_384, 65_536, 262_144, 1_048_576],
      },
    },
  ],
});

import { defineScenario } from "../runners/scenario.js";

/**
 * The same bytes through the same calls into one file (`raw`) and past the engines altogether (the device probe) are the
 * limits that every other figure is a share of. Both engines run with their originals' defaults.
 */
export default defineScenario({
  id: "device-ceiling",
  title: "How near the disk's limit",
  question: "How near does each engine come to what this disk can do, acknowledged and durable?",
  expectation:
    "Acknowledged, both engines stay near raw writes into the page cache; durable, both meet at the device's own speed.",
  refutedIf: "Either engine's durable throughput stays below 70 % of that of raw writes.",
  figure: "durable",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 8 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: { inFlight: 1_024 },
  vary: [],
});

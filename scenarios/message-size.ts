import { defineScenario } from "../runners/scenario.js";

/** Small messages cost by the piece (framing, index entry, bookkeeping), large ones by the byte (copy, checksum, device). */
export default defineScenario({
  id: "message-size",
  title: "Message size",
  question: "Which engine suits small messages, and which large ones?",
  expectation:
    "In messages per second the engine with less work per message leads at 100 B; in bytes per second all meet raw writes as messages grow.",
  refutedIf: "The same engine leads by more than 20 % at every size.",
  figure: "acknowledged",
  engines: ["partitioned-log", "commitlog"],
  baselines: ["null", "raw"],
  topology: { topicCount: 1, partitionsPerTopic: 8 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async" },
  load: { inFlight: 1_024 },
  vary: [
    {
      path: "messages.sizeBytes",
      label: "message size (bytes)",
      values: { smoke: [100], quick: [100, 1_024], full: [100, 256, 1_024, 4_096, 16_384, 65_536] },
    },
  ],
});

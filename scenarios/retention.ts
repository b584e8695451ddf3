import { defineScenario } from "../runners/scenario.js";

/**
 * Deleting a file frees its blocks, which the filesystem does under its own locks and in its journal, beside the appends.
 * Files are small, so that many are rolled and deleted while it is measured, with one partition, so that the limit is of the
 * same bytes in both engines. The partitioned log renames first and removes after a delay, here of none: a minute later, as
 * the original does, would be after the trial.
 */
export default defineScenario({
  id: "retention",
  title: "Retention",
  question: "Does deleting old files while messages are appended raise the tail of the response times?",
  expectation: "The median does not notice; the tail rises where a removal holds the device's journal up.",
  refutedIf: "In both engines the p99 and the p99.9 response time with retention are within 10 % of those without.",
  figure: "responseTime",
  engines: ["partitioned-log", "commitlog"],
  profiles: ["smoke", "full"],
  baselines: [],
  topology: { topicCount: 1, partitionsPerTopic: 1 },
  messages: { sizeBytes: 1_024, compressibleFraction: 0.5 },
  settings: { flush: "async", segmentSizeBytes: 16_777_216, retentionCheckMs: 20 },
  engineSettings: { "partitioned-log": { fileDeleteDelayMs: 0 } },
  load: {
    inFlight: 1_024,
    open: {
      capacityFractions: { smoke: [0.7], quick: [0.7], full: [0.7] },
      arrivals: { smoke: ["poisson"], quick: ["poisson"], full: ["poisson"] },
    },
  },
  vary: [
    {
      path: "settings.retentionBytes",
      label: "retention (bytes)",
      values: { smoke: [16_777_216], quick: [-1, 33_554_432], full: [-1, 33_554_432] },
    },
  ],
});

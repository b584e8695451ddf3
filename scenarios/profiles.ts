import { defineProfiles } from "../runners/scenario.js";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/**
 * `quick` fits a run of all scenarios into five minutes on two cores, reports included; `full` measures long enough for
 * steady figures, tails and at least one roll of a file of the originals' size; `smoke` only shows that everything works.
 */
export default defineProfiles({
  smoke: {
    description: "everything once and tiny, in about two minutes: its figures mean nothing",
    repetitions: 1,
    warmup: { minimumMs: 40, maximumMs: 100, binMs: 10, windowBins: 3, maximumBytes: 32 * MIB },
    measureMs: 100,
    maximumBytes: 64 * MIB,
    sampleIntervalMs: 20,
    settleMs: 250,
    trialLimitMs: 30_000,
    budgetMs: null,
    probe: { durationMs: 30, fileSizeBytes: 16 * MIB },
    settings: { segmentSizeBytes: 16 * MIB },
  },
  quick: {
    description: "a first answer in less than five minutes",
    repetitions: 3,
    warmup: { minimumMs: 160, maximumMs: 400, binMs: 40, windowBins: 4, maximumBytes: 128 * MIB },
    measureMs: 350,
    syncMeasure: { percentile: 99, maximumMs: 1_000 },
    limitsAfter: "first",
    maximumBytes: 256 * MIB,
    sampleIntervalMs: 100,
    settleMs: 500,
    trialLimitMs: 30_000,
    budgetMs: 280_000,
    probe: { durationMs: 400, fileSizeBytes: 128 * MIB },
    settings: { segmentSizeBytes: 64 * MIB },
  },
  full: {
    description: "hours: figures to rely on",
    repetitions: 10,
    warmup: { minimumMs: 4_000, maximumMs: 20_000, binMs: 1_000, windowBins: 5, maximumBytes: 8 * GIB },
    measureMs: 20_000,
    syncMeasure: { percentile: 99.9, maximumMs: 60_000 },
    maximumBytes: 24 * GIB,
    sampleIntervalMs: 1_000,
    settleMs: 60_000,
    trialLimitMs: 600_000,
    budgetMs: null,
    probe: { durationMs: 10_000, fileSizeBytes: 4 * GIB },
    settings: { segmentSizeBytes: GIB },
  },
});

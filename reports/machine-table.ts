/** What the trial's process and the machine did within the measured intervals, by the samples. */
import type { Measured, Sample } from "../results/schema.js";
import type { ScenarioAnalysis } from "./analysis.js";
import { formatShare, formatTime, threeDigits } from "./format.js";
import {
  axisCells,
  axisColumns,
  type Cell,
  engineCells,
  medianCell,
  number,
  numberCell,
  type Table,
  text,
  withoutEmptyColumns,
} from "./tables.js";

/** One row for each group; a column that no trial tells is left out. */
export function machineTable(scenario: ScenarioAnalysis, slug: string): Table {
  const rows = scenario.groups.flatMap((group) => {
    const trials = group.trials.flatMap(({ measured }) => (measured === null ? [] : sampledOf(measured)));
    return trials.length === 0 ? [] : [{ group, trials }];
  });
  return withoutEmptyColumns({
    id: `${slug}-machine-table`,
    caption:
      "What process and machine did meanwhile: medians over trials, of samples after the warm-up; the longest delay is that of all trials. Event loop busy: performance.eventLoopUtilization of the measured interval, the share in which the main thread's loop was not waiting for something to do. It is near 100 % by design, and says nothing of the engine, wherever the generator spins: in an open loop, and in a closed one whose acknowledgements come within append or poll. Where a closed loop sleeps until a sync has completed, the rest is that sleep. Delay: by how much a heartbeat of 5 ms came late. Waited for a processor: the main thread was ready and had none. Steal, device: of the whole machine.",
    columns: [
      ...axisColumns(scenario),
      text("engine", "Engine, class"),
      text("load", "Load"),
      number("loop", "Event loop busy"),
      number("delay", "Longest event-loop delay"),
      number("collection", "Garbage collection"),
      number("cpu", "CPU, processors"),
      number("processorWait", "Waited for a processor"),
      number("steal", "Steal"),
      number("device", "Device busy"),
      number("switches", "Preempted a second"),
      number("majorFaults", "Major faults a second"),
    ],
    rows: rows.map(({ group, trials }) => {
      const cell = (figure: (trial: SampledTrial) => number | null, format: (value: number) => string): Cell => {
        const values = trials.map(figure).filter((value) => value !== null);
        return medianCell(values, format);
      };
      const share = (figure: (sample: Sample) => number | null) =>
        cell(({ samples }) => weightedMean(samples, figure), formatShare);
      const rate = (figure: (sample: Sample) => number | null) =>
        cell(({ samples }) => perSecond(samples, figure), threeDigits);
      const longestNs = Math.max(...trials.flatMap(({ samples }) => samples.map((one) => one.eventLoopDelayMaxNs)));
      return {
        isMuted: group.isBaseline,
        cells: [
          ...axisCells(scenario, group),
          ...engineCells(group),
          cell(({ eventLoopUtilisation }) => eventLoopUtilisation, formatShare),
          numberCell(longestNs, formatTime),
          share(({ garbageCollectionNs, durationNs }) => garbageCollectionNs / durationNs),
          cell(({ samples }) => weightedMean(samples, ({ processCpuFraction }) => processCpuFraction), threeDigits),
          share(({ detail, durationNs }) =>
            detail === null || detail.processorWaitNs === null
              ? null
              : Math.min(1, detail.processorWaitNs / durationNs),
          ),
          share(({ stealFraction }) => stealFraction),
          share(({ deviceUtilisation }) => deviceUtilisation),
          rate(({ detail }) => detail?.involuntarySwitches ?? null),
          rate(({ detail }) => detail?.majorFaults ?? null),
        ],
      };
    }),
  });
}

interface SampledTrial {
  readonly eventLoopUtilisation: number | null;
  /** Those that ended after the warm-up; at least one, none of no length. */
  readonly samples: readonly Sample[];
}

function sampledOf({ samples, warmupNs, eventLoopUtilisation }: Measured): SampledTrial[] {
  const inside = samples.filter(({ atNs, durationNs }) => atNs > warmupNs && durationNs > 0);
  return inside.length === 0 ? [] : [{ eventLoopUtilisation, samples: inside }];
}

/** By the samples' lengths; null: none tells it. */
function weightedMean(samples: readonly Sample[], figure: (sample: Sample) => number | null): number | null {
  let totalNs = 0;
  let weighted = 0;
  for (const sample of samples) {
    const value = figure(sample);
    if (value === null) continue;
    totalNs += sample.durationNs;
    weighted += value * sample.durationNs;
  }
  return totalNs === 0 ? null : weighted / totalNs;
}

function perSecond(samples: readonly Sample[], count: (sample: Sample) => number | null): number | null {
  return weightedMean(samples, (sample) => {
    const value = count(sample);
    return value === null ? null : (value * 1e9) / sample.durationNs;
  });
}

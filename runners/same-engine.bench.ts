/**
 * `npm run bench:aa [-- ENGINE]`: an engine against itself, 40 comparisons of five pairs of short trials each on the real
 * disk of the working directory. Tells how often the interval of the ratio holds 1, which it should at its stated
 * confidence. Takes ten minutes; exits with 1 where the promise is not kept, which a busy machine can bring about.
 */

import { type Coverage, coverageOfOne, type SelfComparison } from "../results/coverage.js";
import { seededRandom } from "../results/random.js";
import { type Measured, messagesSchema } from "../results/schema.js";
import { runChild } from "./child-process.js";
import { DataDirectory } from "./data-directory.js";
import { settle } from "./settle.js";
import { type TrialInput, trialOutcomeSchema } from "./trial-protocol.js";

const COMPARISONS = 40;
const PAIRS = 5;
const SETTLE_MS = 500;
const MIB = 1024 * 1024;
const FIGURES = ["acknowledged", "durable"] as const;

const engine = process.argv[2] ?? "partitioned-log";
const interruption = new AbortController();
process.once("SIGINT", () => interruption.abort());
const dataDirectory = new DataDirectory(process.cwd());
const comparisons: Record<(typeof FIGURES)[number], SelfComparison>[] = [];
try {
  const random = seededRandom(1);
  while (comparisons.length < COMPARISONS && !interruption.signal.aborted) {
    const first: Measured[] = [];
    const second: Measured[] = [];
    for (let pair = 0; pair < PAIRS; pair++) {
      // Which copy begins is drawn, so that neither has the better place.
      const order = random() < 0.5 ? [first, second] : [second, first];
      for (const side of order) side.push(await measure(pair + 1));
    }
    const ofBoth = (figure: (typeof FIGURES)[number]): SelfComparison => ({
      first: first.map((measured) => measured[figure].messagesPerSecond),
      second: second.map((measured) => measured[figure].messagesPerSecond),
    });
    comparisons.push({ acknowledged: ofBoth("acknowledged"), durable: ofBoth("durable") });
    process.stderr.write(`comparison ${comparisons.length} of ${COMPARISONS}\n`);
  }
} catch (error) {
  if (!interruption.signal.aborted) throw error;
} finally {
  dataDirectory.remove();
}
if (comparisons.length > 0) {
  const coverages = FIGURES.map((figure) => coverageOfOne(comparisons.map((one) => one[figure])));
  for (const [at, coverage] of coverages.entries())
    console.log(`${engine} against itself, ${FIGURES[at]}: ${words(coverage)}`);
  if (coverages.some(({ isKept }) => !isKept)) process.exitCode = 1;
}

async function measure(seed: number): Promise<Measured> {
  await settle(SETTLE_MS, interruption.signal);
  const input: TrialInput = {
    engine,
    directory: dataDirectory.makeTrialDirectory(),
    configuration: {
      topology: { topicCount: 1, partitionsPerTopic: 8 },
      messages: messagesSchema.parse({ sizeBytes: 1_024, compressibleFraction: 0.5 }),
      load: { model: "closed", inFlight: 1_024, producers: 1 },
      settings: { segmentSizeBytes: 64 * MIB },
    },
    seed,
    limits: {
      warmup: { minimumNs: 100e6, maximumNs: 250e6, maximumMessages: 131_072, binNs: 25e6, windowBins: 4 },
      measure: { durationNs: 200e6, maximumMessages: 131_072 },
    },
    sampleIntervalMs: 100,
    deviceStatPath: null,
  };
  const limits = { timeLimitMs: 60_000, signal: interruption.signal };
  const outcome = await runChild("trial.js", input, trialOutcomeSchema, limits);
  dataDirectory.clear();
  if (outcome.status === "failed") throw new Error(outcome.failures.join(" "));
  return outcome.measured;
}

function words({ covered, count, confidence, actual, isKept }: Coverage): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const range = `${percent(actual.lower)} to ${percent(actual.upper)}`;
  return `${covered} of ${count} intervals hold 1 (true coverage ${range} with 99 %); they promise ${percent(confidence)}: ${isKept ? "kept" : "not kept"}.`;
}

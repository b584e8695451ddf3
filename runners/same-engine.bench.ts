/**
 * `npm run bench:aa -- [--comparisons 40] [ENGINE]`: an engine against itself, 40 comparisons of five pairs of short trials
 * each on the real disk of the working directory. Tells how often the interval of the ratio holds 1, which it should at its
 * stated confidence. Takes fifteen seconds a comparison. Exit codes: 0 the promise is kept as far as can be seen, 1 it is
 * not, which a busy machine can bring about, 2 usage, 4 a trial failed, 130 interrupted.
 */

import { Command, CommanderError } from "commander";
import { parseCommand, UsageError } from "../engines/command-line.js";
import { printable } from "../engines/printable.js";
import { EngineLoadError } from "../engines/registry.js";
import { type Coverage, coverageOfOne, type SelfComparison } from "../results/coverage.js";
import { seededRandom } from "../results/random.js";
import { type Measured, messagesSchema } from "../results/schema.js";
import { loadContestants } from "./catalogue.js";
import { ChildFailedError, runChild } from "./child-process.js";
import { DataDirectory } from "./data-directory.js";
import { settle } from "./settle.js";
import { type TrialInput, trialOutcomeSchema } from "./trial-protocol.js";

const COMPARISONS = 40;
/** With one comparison nothing could speak against the promise. */
const FEWEST_COMPARISONS = 2;
const PAIRS = 5;
const SETTLE_MS = 500;
const MIB = 1024 * 1024;
const FIGURES = ["acknowledged", "durable"] as const;
const EXIT_NOT_KEPT = 1;
const EXIT_USAGE = 2;
const EXIT_ENGINE_FAILED = 4;
const EXIT_INTERRUPTED = 130;

type Comparison = Record<(typeof FIGURES)[number], SelfComparison>;

const interruption = new AbortController();
process.once("SIGINT", () => interruption.abort());
process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  try {
    const { engine, count } = await requested(args);
    const comparisons = await compare(engine, count);
    if (comparisons.length === 0) return EXIT_INTERRUPTED;
    const coverages = FIGURES.map((figure) => coverageOfOne(comparisons.map((one) => one[figure])));
    for (const [at, coverage] of coverages.entries())
      console.log(`${printable(engine)} against itself, ${FIGURES[at]}: ${words(coverage)}`);
    if (interruption.signal.aborted) return EXIT_INTERRUPTED;
    return coverages.every(({ isKept }) => isKept) ? 0 : EXIT_NOT_KEPT;
  } catch (error) {
    if (error instanceof CommanderError) return 0;
    if (error instanceof UsageError || error instanceof EngineLoadError) {
      console.error(printable(error.message));
      return EXIT_USAGE;
    }
    if (!(error instanceof ChildFailedError)) throw error;
    console.error(printable(`A trial failed: ${error.message}`));
    return EXIT_ENGINE_FAILED;
  }
}

async function requested(args: string[]): Promise<{ engine: string; count: number }> {
  const command = new Command("npm run bench:aa --")
    .description("Compares an engine with itself again and again: does the interval of the ratio hold 1?")
    .argument("[engine]", "by name or path of a module (./mine.js)", "partitioned-log")
    .option("--comparisons <n>", "how many, each of five pairs of trials", String(COMPARISONS));
  parseCommand(command, args);
  const { comparisons } = command.opts<{ comparisons: string }>();
  const count = /^\d+$/.test(comparisons) ? Number(comparisons) : Number.NaN;
  if (!(count >= FEWEST_COMPARISONS && Number.isSafeInteger(count))) {
    throw new UsageError(
      `${JSON.stringify(comparisons)} comparisons cannot tell anything; give a whole number from ${FEWEST_COMPARISONS} on.`,
    );
  }
  const [contestant] = await loadContestants([command.processedArgs[0] as string]);
  return { engine: contestant!.source, count };
}

/** @returns those that were whole when it was interrupted */
async function compare(engine: string, count: number): Promise<Comparison[]> {
  const dataDirectory = new DataDirectory(process.cwd());
  const comparisons: Comparison[] = [];
  try {
    const random = seededRandom(1);
    while (comparisons.length < count && !interruption.signal.aborted) {
      const first: Measured[] = [];
      const second: Measured[] = [];
      for (let pair = 0; pair < PAIRS; pair++) {
        // Which copy begins is drawn, so that neither has the better place.
        const order = random() < 0.5 ? [first, second] : [second, first];
        for (const side of order) side.push(await measure(engine, dataDirectory, pair + 1));
      }
      const ofBoth = (figure: (typeof FIGURES)[number]): SelfComparison => ({
        first: first.map((measured) => measured[figure].messagesPerSecond),
        second: second.map((measured) => measured[figure].messagesPerSecond),
      });
      comparisons.push({ acknowledged: ofBoth("acknowledged"), durable: ofBoth("durable") });
      process.stderr.write(`comparison ${comparisons.length} of ${count}\n`);
    }
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
  } finally {
    dataDirectory.remove();
  }
  return comparisons;
}

async function measure(engine: string, dataDirectory: DataDirectory, seed: number): Promise<Measured> {
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
  if (outcome.status === "failed") throw new ChildFailedError(outcome.failures.join(" "));
  return outcome.measured;
}

function words({ covered, count, confidence, actual, isKept }: Coverage): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const range = `${percent(actual.lower)} to ${percent(actual.upper)}`;
  return `${covered} of ${count} intervals hold 1 (true coverage ${range} with 99 %); they promise ${percent(confidence)}: ${isKept ? "kept" : "not kept"}.`;
}

/**
 * Comparison with a stored baseline. The reference cannot be run again, so its trials are compared as independent ones,
 * and there is no A/A guard in the blocks; instead `raw` runs then and now, and when it has changed the machine has.
 */
import type { GateBaseline, GateBlock, GateCounter, GateSamples } from "../../results/gate.js";
import { seededRandom, shuffle } from "../../results/random.js";
import { median } from "../../results/statistics.js";
import { UnfitTargetError } from "../data-directory.js";
import { type Cell, figuresOf, layOutCells } from "./cells.js";
import { compareTotals, messageCountOf } from "./counters.js";
import { conclude, type FigureBlocks, outcomeOf, screen } from "./decide.js";
import { plainValue, type Reading } from "./figures.js";
import { chooseAgain, type GateFindings, type GateSetup } from "./gate.js";
import { type Subject, TrialFailedError } from "./measure.js";
import { disturbances, type Moment } from "./quiet.js";
import type { CountedWorkload } from "./workloads.js";

/** Trials of each cell; more would say more of this hour and no more of the next. */
const MOST_TRIALS = 24;
/** Two samples of so many can differ at 5 % after Holm's correction over 8 figures. */
const FEWEST_TRIALS = 6;
const COUNTED_REPETITIONS = 3;
const SCREENING_SHARE = 0.6;
/** The same for every baseline: two seeds make different payloads. */
const COUNTING_SEED = 1;
/** `raw` keeps its own, whatever the engine is set to. */
const NO_SETTINGS = { reference: {}, guard: {}, candidate: {} };
const RAW: Subject = { name: "raw", sources: { reference: "raw", guard: "raw", candidate: "raw" } };

/**
 * Runs the candidate alone, all cells in turn in a seeded order, until the deadline.
 * @throws TrialFailedError; UnfitTargetError when too many trials are invalid to compare anything with
 */
export async function sampleAlone(setup: GateSetup): Promise<GateSamples> {
  const counters = await countAlone(setup);
  const cells = await withRaw(setup, {});
  const { samples, invalid } = await sampleCells(setup, cells, setup.deadlineMs);
  const [spoilt] = invalid;
  if (spoilt !== undefined) throw new UnfitTargetError(`No baseline was stored. ${spoilt[0]}: ${spoilt[1]}.`);
  const rates = Object.fromEntries(
    cells.filter(({ ratePerSecond }) => ratePerSecond > 0).map(({ id, ratePerSecond }) => [id, ratePerSecond]),
  );
  return { figures: Object.fromEntries(samples), counters, rates };
}

/** @param isSameMachine when not, what differs is shown and nothing is judged */
export async function compareWithBaseline(
  given: GateSetup,
  baseline: GateBaseline,
  isSameMachine: boolean,
): Promise<GateFindings> {
  const stored = baseline.samples;
  const setup = { ...given, subjects: subjectsOf(given, stored) };
  const { instruments } = setup;
  const failures = [...setup.missing];
  let counters: GateCounter[] = [];
  let figures: GateFindings["figures"] = [];
  const doubts = isSameMachine ? [] : ["The baseline is of another machine: its figures are shown, not judged."];
  try {
    const totals = await countAlone(setup);
    counters = Object.entries(totals).flatMap(([cell, now]) =>
      cell in stored.counters
        ? compareTotals(cell, messageCountOf(workloadOf(setup, cell)), stored.counters[cell]!, now)
        : [],
    );
    const cells = await withRaw(setup, stored.rates);
    failures.push(...goneFrom(stored, cells, totals));
    const leftMs = setup.deadlineMs - instruments.nowMs();
    const first = await sampleCells(setup, cells, instruments.nowMs() + SCREENING_SHARE * leftMs);
    const known = figuresAgainst(stored, cells, first);
    const isRaw = ({ id }: { id: string }) => id.startsWith(`${RAW.name}/`);
    doubts.push(...changesOfMachine(known.filter(isRaw)), ...disturbances(first.moments));
    const screened = screen(
      known.filter((figure) => !isRaw(figure)).map((figure) => ({ ...figure, gated: figure.gated && isSameMachine })),
    );
    const again = chooseAgain(cells, screened, (chosen) =>
      Math.floor((setup.deadlineMs - instruments.nowMs()) / (chosen.length * first.trialMs)),
    );
    const second = again === null ? null : await sampleCells(setup, again.cells, setup.deadlineMs);
    const compared = second === null ? [] : figuresAgainst(stored, again!.cells, second);
    const rerun = compared.filter((figure) => figure.invalid === undefined);
    figures = conclude(screened, new Map(rerun.map(({ id, blocks }) => [id, blocks])));
  } catch (error) {
    if (!(error instanceof TrialFailedError)) throw error;
    failures.push(error.message);
  }
  return { counters, failures, doubts, ...outcomeOf(figures, counters, failures, doubts) };
}

/** Engines that the baseline knows: nothing could be said of the others, so their time is better spent on these. */
function subjectsOf({ subjects, tell }: GateSetup, { counters, figures }: GateSamples): readonly Subject[] {
  const known = new Set([...Object.keys(counters), ...Object.keys(figures)].map((id) => id.split("/")[0]));
  for (const { name } of subjects) if (!known.has(name)) tell(`${name} is not in the baseline: it is left out.`);
  return subjects.filter(({ name }) => known.has(name));
}

/** The stored trials then and the new ones now, as one unpaired block each. Pure. */
function figuresAgainst(
  stored: GateSamples,
  cells: readonly Cell[],
  { samples, invalid }: Pick<Sampled, "samples" | "invalid">,
): FigureBlocks[] {
  return cells.flatMap(figuresOf).flatMap(({ name: _, ...figure }) => {
    const reference = stored.figures[figure.id];
    const candidate = samples.get(figure.id);
    if (reference === undefined || candidate === undefined) return [];
    const order = "R".repeat(reference.length) + "C".repeat(candidate.length);
    const values = { reference: [...reference], guard: [], candidate: [...candidate] };
    const block: GateBlock = { order, isDuet: false, ...values };
    return [{ ...figure, blocks: [block], invalid: invalid.get(figure.id) }];
  });
}

/** A figure of `raw` that has changed by more than its margin says that the machine has. Pure. */
function changesOfMachine(raw: readonly FigureBlocks[]): string[] {
  return screen(raw).flatMap(({ title, gated, screen: { candidate } }) => {
    const hasChanged = gated && Math.min(candidate.pWorseHolm, candidate.pBetterHolm) <= 0.025;
    const change = `${((candidate.ratio.point - 1) * 100).toFixed(1)} %`;
    return hasChanged
      ? [`The machine is not what it was when the baseline was stored: the ${title} of raw has changed by ${change}.`]
      : [];
  });
}

/** Cells that the baseline has and that are gone. Pure. */
function goneFrom(stored: GateSamples, cells: readonly Cell[], counters: GateSamples["counters"]): string[] {
  const figures = new Set(cells.flatMap(figuresOf).map(({ id }) => id));
  const gone = [
    ...Object.keys(stored.figures).filter((id) => !figures.has(id)),
    ...Object.keys(stored.counters).filter((cell) => !(cell in counters)),
  ];
  return gone.map((id) => `${id} was measured for the baseline and is missing now.`);
}

/** The cells of the gate, and `raw` under those loads that tell its throughput and its CPU time. */
async function withRaw(setup: GateSetup, rates: Readonly<Record<string, number>>): Promise<Cell[]> {
  const comparable = setup.workloads.filter(({ kind }) => kind === "closed" || kind === "duet");
  return [
    ...(await layOutCells(setup, rates)),
    ...(await layOutCells({ ...setup, subjects: [RAW], workloads: comparable })),
  ];
}

async function countAlone({
  bench,
  subjects,
  workloads,
  tell,
  instruments,
}: GateSetup): Promise<GateSamples["counters"]> {
  const counters: GateSamples["counters"] = {};
  for (const subject of subjects) {
    for (const workload of workloads) {
      if (workload.kind !== "counted") continue;
      const cell = `${subject.name}/${workload.id}`;
      tell(`Counting ${cell} …`);
      counters[cell] = [];
      for (let repetition = 0; repetition < COUNTED_REPETITIONS; repetition++) {
        const trial = { subject, arm: "candidate", seed: COUNTING_SEED } as const;
        counters[cell].push((await instruments.count(bench, workload, trial)).totals);
      }
    }
  }
  return counters;
}

function workloadOf({ workloads }: GateSetup, cell: string): CountedWorkload {
  return workloads.find(({ id }) => cell.endsWith(`/${id}`)) as CountedWorkload;
}

interface Sampled {
  /** By figure id: its valid trials, or all of them where those are too few. */
  readonly samples: ReadonlyMap<string, number[]>;
  /** By figure id: why its trials tell nothing. */
  readonly invalid: ReadonlyMap<string, string>;
  readonly moments: readonly Moment[];
  readonly trialMs: number;
}

async function sampleCells(setup: GateSetup, cells: readonly Cell[], untilMs: number): Promise<Sampled> {
  const { instruments } = setup;
  const random = seededRandom(setup.seed);
  const readings = new Map<string, Reading[]>(cells.flatMap(figuresOf).map(({ id }) => [id, []]));
  const durationsMs: number[] = [];
  const moments: Moment[] = [];
  if (cells.length === 0) return { samples: new Map(), invalid: new Map(), moments, trialMs: 0 };
  for (let round = 0; round < MOST_TRIALS; round++) {
    if (round >= FEWEST_TRIALS && instruments.nowMs() + cells.length * median(durationsMs) > untilMs) break;
    setup.tell(`Round ${round + 1} …`);
    const moment = await instruments.listen(setup.deviceStatPath);
    if (moment !== null) moments.push(moment);
    for (const cell of shuffle([...cells], random)) {
      const startedMs = instruments.nowMs();
      const trial = { subject: cell.subject, arm: "candidate", seed: setup.seed + round } as const;
      const bench = cell.subject === RAW ? { ...setup.bench, settings: NO_SETTINGS } : setup.bench;
      const [figures] = await instruments.measure(bench, cell.workload, [trial], cell.ratePerSecond);
      for (const { id, name } of figuresOf(cell)) readings.get(id)!.push(figures![name]!);
      durationsMs.push(instruments.nowMs() - startedMs);
    }
    const overMs = instruments.nowMs() + (FEWEST_TRIALS - 1) * cells.length * median(durationsMs) - untilMs;
    if (round === 0 && overMs > 0) {
      const seconds = Math.ceil(overMs / 1_000);
      setup.tell(
        `The fewest rounds that can be compared are ${FEWEST_TRIALS}: about ${seconds} s more than the budget.`,
      );
    }
  }
  return { ...usableTrials(readings), moments, trialMs: median(durationsMs) };
}

function usableTrials(readings: ReadonlyMap<string, readonly Reading[]>): Pick<Sampled, "samples" | "invalid"> {
  const samples = new Map<string, number[]>();
  const invalid = new Map<string, string>();
  for (const [id, all] of readings) {
    const valid = all.filter((reading) => typeof reading === "number");
    const isEnough = valid.length === all.length || valid.length >= FEWEST_TRIALS;
    samples.set(id, isEnough ? valid : all.map(plainValue));
    const spoilt = all.find((reading) => typeof reading !== "number");
    if (isEnough || spoilt === undefined) continue;
    const because = spoilt.invalid.replace(/\.$/, "");
    invalid.set(id, `${all.length - valid.length} of ${all.length} trials are invalid (${because})`);
  }
  return { samples, invalid };
}

/**
 * The gate tests itself on this machine: how often does it alarm when nothing changed, and what slow-down does it find?
 * The engine of both sides is the planted one (planted-engine.ts); on the candidate's it burns CPU time for each message.
 */
import { join } from "node:path";
import Table from "cli-table3";
import { binomialInterval, median } from "../../results/statistics.js";
import type { Arm } from "./blocks.js";
import { layOutCells } from "./cells.js";
import { plainValue } from "./figures.js";
import { type GateFindings, type GateSetup, runGate } from "./gate.js";
import type { Subject } from "./measure.js";

const CALIBRATION_DUETS = 5;
const CALIBRATION_ORDER = ["reference", "candidate", "candidate", "guard"] as const;
const CALIBRATION_ITERATIONS = 400;

export interface SelfTestEntry {
  readonly engine: string;
  readonly slowDown: number;
  readonly outcome: GateFindings["outcome"];
  readonly durationMs: number;
  /** Candidate ÷ reference of the gated figures. */
  readonly ratios: Readonly<Record<string, number>>;
  readonly reasons: readonly string[];
}

export interface SelfTest {
  /** Of a gate; its subjects and settings are replaced. */
  readonly setup: GateSetup;
  readonly engines: readonly string[];
  /** Share of the CPU time for each message that is added, in turn; 0: the same on both sides. */
  readonly slowDowns: readonly number[];
  readonly budgetMs: number;
  readonly untilMs: number;
  /** Called after each gate. */
  readonly finished: (entry: SelfTestEntry) => void;
}

/** Runs gates until the time is over: all slow-downs of one engine, then of the next. */
export async function runSelfTest({ setup, engines, slowDowns, budgetMs, untilMs, finished }: SelfTest): Promise<void> {
  const burning = new Map<string, number>();
  for (let round = 0; setup.instruments.nowMs() + budgetMs < untilMs || round === 0; round++) {
    const engine = engines[Math.floor(round / slowDowns.length) % engines.length]!;
    const slowDown = slowDowns[round % slowDowns.length]!;
    const planted = plantIn(setup, engine);
    if (slowDown > 0 && !burning.has(engine)) {
      setup.tell(`Measuring what a burning loop costs in ${engine} …`);
      burning.set(engine, await iterationsForAll(planted));
    }
    setup.tell(`Gate ${round + 1}: ${engine}, ${slowDown === 0 ? "A against A" : `${slowDown * 100} % slower`}.`);
    const startedMs = setup.instruments.nowMs();
    const findings = await runGate({
      ...planted,
      seed: setup.seed + round,
      deadlineMs: startedMs + budgetMs,
      bench: withBurn(planted, Math.round(slowDown * (burning.get(engine) ?? 0))).bench,
    });
    const entry: SelfTestEntry = {
      engine,
      slowDown,
      outcome: findings.outcome,
      durationMs: setup.instruments.nowMs() - startedMs,
      ratios: Object.fromEntries(
        findings.figures.filter(({ gated }) => gated).map(({ id, screen }) => [id, screen.candidate.ratio.point]),
      ),
      reasons: findings.reasons,
    };
    finished(entry);
    setup.tell(`  ${entry.outcome}: ${entry.reasons.join(" ")}`);
  }
}

/** Counts with exact binomial intervals. Pure. */
export function selfTestTable(entries: readonly SelfTestEntry[]): string {
  const table = new Table({
    head: ["slow-down", "gates", "regression", "share (95 %)", "inconclusive", "passed", "failed", "minutes each"],
    style: { head: [], border: [], compact: true },
  });
  for (const slowDown of [...new Set(entries.map((entry) => entry.slowDown))].sort((a, b) => a - b)) {
    const gates = entries.filter((entry) => entry.slowDown === slowDown);
    const having = (outcome: SelfTestEntry["outcome"]) => gates.filter((gate) => gate.outcome === outcome).length;
    const share = binomialInterval(having("regression"), gates.length);
    const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
    table.push([
      slowDown === 0 ? "none (A/A)" : percent(slowDown),
      String(gates.length),
      String(having("regression")),
      `${percent(share.point)} (${percent(share.lower)} – ${percent(share.upper)})`,
      String(having("inconclusive")),
      String(having("passed")),
      String(having("failed")),
      (median(gates.map(({ durationMs }) => durationMs)) / 60_000).toFixed(1),
    ]);
  }
  return table.toString();
}

function plantIn(setup: GateSetup, engine: string): GateSetup {
  const module = (arm: Arm) => join(setup.bench.builds[arm], "dist/runners/gate/planted-engine.js");
  const subject: Subject = {
    name: engine,
    sources: { reference: module("reference"), guard: module("guard"), candidate: module("candidate") },
  };
  const settings = allArms({ ...setup.bench.settings.candidate, engine });
  return withBurn({ ...setup, subjects: [subject], bench: { ...setup.bench, settings } }, 0);
}

function withBurn(setup: GateSetup, burnIterations: number): GateSetup {
  const { settings } = setup.bench;
  const candidate = { ...settings.candidate, plant: { burnIterations } };
  return { ...setup, bench: { ...setup.bench, settings: { ...settings, candidate } } };
}

function allArms<T>(value: T): Record<Arm, T> {
  return { reference: value, guard: value, candidate: value };
}

/** How many turns of the burning loop cost as much CPU time as a message costs without: both measured, in duets. */
async function iterationsForAll(setup: GateSetup): Promise<number> {
  const [cell] = await layOutCells({ ...setup, workloads: setup.workloads.filter(({ kind }) => kind === "duet") });
  const { subject, workload } = cell!;
  const { bench } = withBurn(setup, CALIBRATION_ITERATIONS);
  const added: number[] = [];
  for (let seed = 0; seed < CALIBRATION_DUETS; seed++) {
    const trials = CALIBRATION_ORDER.map((arm) => ({ subject, arm, seed }));
    const figures = await setup.instruments.measure(bench, workload, trials, 0);
    const [plain, burning, burningToo, plainToo] = figures.map(({ cpuPerMessage }) => plainValue(cpuPerMessage!));
    added.push(burning! / plain! - 1, burningToo! / plainToo! - 1);
  }
  return CALIBRATION_ITERATIONS / median(added);
}

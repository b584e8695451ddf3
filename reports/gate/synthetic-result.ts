/** Results of the gate for tests of what is made of them. */
import type { GateComparison, GateFigure, GateResult } from "../../results/gate.js";
import { syntheticRun } from "../synthetic-run.js";

const HOSTILE = `x"><script>alert(1)</script>\u001b[31m\u202e%0A::error::\n| **y** ]]>`;

function comparison(point: number): GateComparison {
  const ratio = { point, lower: point * 0.98, upper: point * 1.02, confidence: 0.9 };
  return { ratio, pWorse: 0.004, pBetter: 1, pWorseHolm: 0.008, pBetterHolm: 1 };
}

function figure(id: string, over: Partial<GateFigure> = {}): GateFigure {
  const blocks = [1.1, 1.12, 1.09].map((ratio) => ({
    order: "RCCG",
    isDuet: false,
    reference: [1000],
    guard: [1000],
    candidate: [1000 * ratio, 1000 * ratio],
  }));
  const round = { blocks, candidate: comparison(1.1), guard: comparison(1), guardAlarms: false };
  return {
    id,
    title: "CPU per message",
    unit: "ns",
    better: "lower",
    margin: 0.03,
    equivalenceMargin: 0.1,
    gated: true,
    reference: 1000,
    candidate: 1103,
    screen: round,
    confirmation: round,
    ratio: comparison(1.1).ratio,
    verdict: "regression",
    rulesOutSlowdown: false,
    reason: "worse by more than 3 %, and again when re-run in reversed order",
    ...over,
  };
}

/** A regression, an equivalent, an inconclusive and a watched figure, and two counters. */
export function syntheticResult(over: Partial<GateResult> = {}): GateResult {
  return {
    formatVersion: 1,
    startedAt: "2026-03-01T12:00:00.000Z",
    durationMs: 421_000,
    command: ["--against", "main", "--set", "a=b c"],
    profile: "gate",
    seed: 7,
    budgetMs: 480_000,
    reference: { label: "main (1a2b3c4)", commit: "1a2b3c4", engine: null, settings: {} },
    candidate: { label: "working tree", commit: "5d6e7f8", engine: null, settings: {} },
    environment: syntheticRun().environment,
    figures: [
      figure("one/closed/cpuPerMessage"),
      figure("one/closed/durableThroughput", {
        title: "durable throughput",
        unit: "messages/s",
        verdict: "equivalent",
        confirmation: null,
        rulesOutSlowdown: true,
        reason: "within 10 % either way",
      }),
      figure("one/open/responseP99", { verdict: "inconclusive", confirmation: null, reason: "too noisy" }),
      figure("one/closed/residentBytes", { gated: false, unit: "bytes", confirmation: null }),
    ],
    counters: [
      {
        id: "one/appending/syncCalls",
        title: "sync calls",
        reference: [10, 10],
        candidate: [20, 20],
        messageCount: 100,
        verdict: "regression",
        reason: "0.1 more for each message",
      },
      {
        id: "one/appending/batches",
        title: "batches",
        reference: [5, 5],
        candidate: [5, 5],
        messageCount: 100,
        verdict: "equal",
        reason: "the same",
      },
    ],
    failures: [],
    doubts: [],
    outcome: "regression",
    exitCode: 1,
    reasons: ["one/closed/cpuPerMessage: worse by more than 3 %."],
    ...over,
  };
}

/** Every name in it would do harm where it is not escaped. */
export function hostileResult(): GateResult {
  return syntheticResult({
    figures: [figure(`${HOSTILE}/closed/${HOSTILE}`, { title: HOSTILE, reason: HOSTILE })],
    candidate: { label: HOSTILE, commit: null, engine: HOSTILE, settings: {} },
    command: ["--engine", HOSTILE],
    failures: [HOSTILE],
    reasons: [HOSTILE],
  });
}

/**
 * One run of the regression gate, whole: what was compared, the block data, and what was concluded from it. Reports show
 * it, history and the self-test read it. Ratios are candidate / reference; units stand in the figures.
 */
import { z } from "zod";
import { environmentSchema } from "./schema.js";

export const GATE_FORMAT_VERSION = 1;

const positive = z.number().positive();
const probability = z.number().min(0).max(1);
const json: z.ZodType<unknown> = z.json();

const ratioSchema = z.strictObject({ point: positive, lower: positive, upper: positive, confidence: probability });

/**
 * The trials of one block: the arms in the order run (R reference, G its second copy, C candidate). Against a
 * stored baseline there is one block, without a guard: all of the reference's trials, taken then, and all taken now.
 */
const blockSchema = z.strictObject({
  order: z.string().regex(/^[RGC]+$/),
  /** All four at the same time: the first two of the order side by side on one processor, the others on another. */
  isDuet: z.boolean(),
  reference: z.array(positive),
  guard: z.array(positive),
  candidate: z.array(positive),
});

const comparisonSchema = z.strictObject({
  ratio: ratioSchema,
  /** One-sided exact p that the truth is no worse (no better) than the margin; then Holm's over the figures gated. */
  pWorse: probability,
  pBetter: probability,
  pWorseHolm: probability,
  pBetterHolm: probability,
});

/** One round of blocks: the candidate against the reference, and the reference against itself. */
const roundSchema = z.strictObject({
  blocks: z.array(blockSchema),
  candidate: comparisonSchema,
  /** Null against a stored baseline, which cannot be run again. */
  guard: comparisonSchema.nullable(),
  /** The reference differs from itself: nothing that this round says of the candidate can be believed. */
  guardAlarms: z.boolean(),
});

const verdictSchema = z.enum(["regression", "improvement", "equivalent", "inconclusive"]);

const figureSchema = z.strictObject({
  /** `<engine>/<workload>/<figure>`: equal for equal figures of different runs. */
  id: z.string(),
  title: z.string(),
  unit: z.string(),
  better: z.enum(["higher", "lower"]),
  /** 0.03: changes up to 3 % do not matter, so a regression is a change that is certainly larger. */
  margin: positive,
  /** 0.1: a slow-down of 10 % must be ruled out, or the figure is inconclusive. */
  equivalenceMargin: positive,
  /** Only gated figures can fail a run; the others are watched. */
  gated: z.boolean(),
  /** Geometric means over the screening blocks. */
  reference: positive,
  candidate: positive,
  screen: roundSchema,
  /** Fresh blocks in reversed order, only for figures that the screen suspects. */
  confirmation: roundSchema.nullable(),
  /** Of the blocks that decided: those of the confirmation for a suspect, else all. */
  ratio: ratioSchema,
  verdict: verdictSchema,
  /** A slow-down by the equivalence margin or more is ruled out, whatever else is open. */
  rulesOutSlowdown: z.boolean(),
  reason: z.string(),
});

const sideSchema = z.strictObject({
  /** For people: "working tree", "main (1a2b3c4)", a module's path. */
  label: z.string(),
  commit: z.string().nullable(),
  /** Module path, or null for the engines of the registry. */
  engine: z.string().nullable(),
  settings: z.record(z.string(), json),
});

/** What one side's trials gave when run alone: what a baseline stores, and what is compared with one. */
const samplesSchema = z.strictObject({
  /** By figure id; a value for each trial. */
  figures: z.record(z.string(), z.array(positive)),
  /** By the cell that counts (`<engine>/<workload>`); totals by name for each repetition. */
  counters: z.record(z.string(), z.array(z.record(z.string(), z.number()))),
  /** Messages per second of each open cell: its figures are comparable at the same rate only. */
  rates: z.record(z.string(), positive),
});

export const baselineSchema = z.strictObject({
  formatVersion: z.literal(GATE_FORMAT_VERSION),
  name: z.string(),
  storedAt: z.iso.datetime(),
  command: z.array(z.string()),
  profile: z.string(),
  side: sideSchema,
  environment: environmentSchema,
  samples: samplesSchema,
});

const counterSchema = z.strictObject({
  id: z.string(),
  title: z.string(),
  /** Totals of each repetition. */
  reference: z.array(z.number()),
  candidate: z.array(z.number()),
  messageCount: z.int().positive(),
  /** `not-repeatable`: repetitions of one side differ among themselves, so nothing is said. */
  verdict: z.enum(["equal", "regression", "improvement", "not-repeatable"]),
  reason: z.string(),
});

export const outcomeSchema = z.enum(["passed", "regression", "inconclusive", "failed"]);

export const gateResultSchema = z.strictObject({
  formatVersion: z.literal(GATE_FORMAT_VERSION),
  startedAt: z.iso.datetime(),
  durationMs: z.number().nonnegative(),
  /** To repeat it: the arguments after `npm run gate --`. */
  command: z.array(z.string()),
  profile: z.string(),
  seed: z.int().nonnegative(),
  budgetMs: z.number().positive(),
  reference: sideSchema,
  candidate: sideSchema,
  environment: environmentSchema,
  figures: z.array(figureSchema),
  counters: z.array(counterSchema),
  /** Wrong data, engines that fell over, workloads that are gone: one sentence each. */
  failures: z.array(z.string()),
  /** What disturbed the timings, one sentence each. */
  doubts: z.array(z.string()),
  outcome: outcomeSchema,
  exitCode: z.union([z.literal(0), z.literal(1), z.literal(3), z.literal(4)]),
  /** Why this outcome, one sentence each, the gravest first. */
  reasons: z.array(z.string()),
});

export type GateBlock = z.infer<typeof blockSchema>;
export type GateComparison = z.infer<typeof comparisonSchema>;
export type GateRound = z.infer<typeof roundSchema>;
export type GateFigure = z.infer<typeof figureSchema>;
export type GateCounter = z.infer<typeof counterSchema>;
export type GateSide = z.infer<typeof sideSchema>;
export type GateSamples = z.infer<typeof samplesSchema>;
export type GateBaseline = z.infer<typeof baselineSchema>;
export type GateResult = z.infer<typeof gateResultSchema>;

/** Everything that a report of any form shows, computed once: page, Markdown and pictures only lay it out. */

import { agreementWords } from "../results/agreement.js";
import type { Run } from "../results/schema.js";
import { analyse, type RunAnalysis, type ScenarioAnalysis } from "./analysis.js";
import { type Answer, answer, FACETS_IN_WORDS, summary } from "./answers.js";
import { chartsOf, identities, type ScenarioCharts } from "./charts.js";
import { cleanRecord } from "./clean.js";
import { costTable, tailTable } from "./cost-tables.js";
import { splitDoubts } from "./doubts.js";
import { groupThousands } from "./format.js";
import { machineTable } from "./machine-table.js";
import { measureTimeSentences } from "./measure-times.js";
import {
  courseTable,
  latencyTable,
  probeTable,
  rawTrialTable,
  searchTable,
  type Table,
  throughputTable,
  trialWords,
  validityTable,
  workTable,
} from "./tables.js";
import { unresolvedSentence } from "./unresolved.js";
import { classWords, countWords, listWords } from "./words.js";

export interface ScenarioModel {
  /** Safe as an element id and in file names, unique in the run. */
  slug: string;
  analysis: ScenarioAnalysis;
  answer: Answer;
  /** Why its figures may not be compared freely; null if nothing stands against it. */
  classBanner: string | null;
  charts: ScenarioCharts;
  /** Where the answer has too many facets for words; else null. */
  course: Table | null;
  throughput: Table;
  latency: Table;
  work: Table;
  /** Without rows in runs of before they were measured. */
  tail: Table;
  cost: Table;
  /** Without rows in runs that sampled nothing. */
  machine: Table;
  /** Without rows if every figure is valid. */
  validity: Table;
  /** One sentence for each reason why figures are not valid that no other scenario has, and each rule not kept here alone. */
  doubts: string[];
  /** How long was measured where acknowledgements wait for a sync, and why. */
  measureTimes: string[];
  warnings: string[];
  failures: { where: string; reasons: readonly string[] }[];
}

export interface ReportModel {
  run: Run;
  analysis: RunAnalysis;
  summary: string;
  /** What a reader must know about the run as a whole, before any figure. */
  banners: string[];
  /** What the run's time did not suffice to resolve; null if it had no such bound, or was cut short before saying. */
  unresolved: { heading: string; sentences: readonly string[] } | null;
  scenarios: ScenarioModel[];
  /** The same that several scenarios have: said once. */
  sharedDoubts: string[];
  /** Without rows if the run made no search. */
  searches: Table;
  probe: Table;
  rawTrials: Table;
}

export function buildModel(stored: Run): ReportModel {
  const run = cleanRecord(stored);
  const analysis = analyse(run);
  const known = identities(analysis);
  const taken = new Set<string>();
  const doubts = doubtsOf(analysis.scenarios, run.environment.notPossible);
  return {
    run,
    analysis,
    summary: `${summary(analysis, run.trials.length, run.plannedTrialCount)} ${verificationSentence(run)}`,
    banners: bannersOf(run, analysis),
    unresolved: unresolvedOf(run),
    scenarios: analysis.scenarios.map((scenario, i) =>
      scenarioModel(scenario, slugOf(scenario.record.id, taken), known, analysis.device, doubts.own[i]!),
    ),
    sharedDoubts: doubts.shared,
    searches: searchTable(run),
    probe: probeTable(run),
    rawTrials: rawTrialTable(run, analysis),
  };
}

function scenarioModel(
  scenario: ScenarioAnalysis,
  slug: string,
  known: ReturnType<typeof identities>,
  device: RunAnalysis["device"],
  doubts: string[],
): ScenarioModel {
  return {
    slug,
    analysis: scenario,
    answer: answer(scenario),
    classBanner: classBanner(scenario),
    charts: chartsOf(scenario, slug, known, device),
    course: scenario.facets.length > FACETS_IN_WORDS ? courseTable(scenario, slug) : null,
    throughput: throughputTable(scenario, slug),
    latency: latencyTable(scenario, slug),
    work: workTable(scenario, slug),
    tail: tailTable(scenario, slug),
    cost: costTable(scenario, slug),
    machine: machineTable(scenario, slug),
    validity: validityTable(scenario, slug),
    doubts,
    measureTimes: measureTimeSentences(
      [...scenario.groups.flatMap(({ trials }) => trials), ...scenario.failedTrials].sort((a, b) => a.order - b.order),
    ),
    warnings: scenario.warnings.map(({ text, engines }) => {
      const counts = [...engines].map(([engine, count]) => `${engine}: ${countWords(count, "trial")}`);
      return `${text} (${counts.join(", ")})`;
    }),
    failures: scenario.failedTrials.map((trial) => ({ where: trialWords(scenario, trial), reasons: trial.failures })),
  };
}

export function unresolvedOf(run: Run): ReportModel["unresolved"] {
  const { budgetMs, unresolved } = run;
  if (budgetMs === null || unresolved.length === 0) return null;
  const heading = `What the run's ${groupThousands(budgetMs / 1000)} s did not suffice to resolve`;
  return { heading, sentences: unresolved.map((one) => unresolvedSentence(run, one)) };
}

function doubtsOf(
  scenarios: readonly ScenarioAnalysis[],
  notPossible: readonly string[],
): ReturnType<typeof splitDoubts> {
  const { shared, own } = splitDoubts(scenarios);
  const rules = scenarios.map((scenario) => impossibleHere(scenario, notPossible));
  const isShared = (rule: string) => rules.filter((here) => here.includes(rule)).length > 1;
  return {
    shared: [...shared, ...new Set(rules.flat().filter(isShared))],
    own: own.map((doubts, i) => [...doubts, ...rules[i]!.filter((rule) => !isShared(rule))]),
  };
}

/** Rules of the method that could not be kept for these figures: what bears on D3 stands beside figures of D2 alone. */
function impossibleHere({ durabilityClasses }: ScenarioAnalysis, notPossible: readonly string[]): string[] {
  return notPossible
    .filter((rule) => !rule.includes("D3") || durabilityClasses.includes("D2"))
    .map((rule) => `Not possible on this machine: ${rule}`);
}

/** Ids come from files that others write: `../../x` must neither leave the directory nor break out of an attribute. */
function slugOf(id: string, taken: Set<string>): string {
  const plain = id
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 60);
  const stem = plain === "" ? "scenario" : plain;
  let slug = stem;
  for (let n = 2; taken.has(slug); n++) slug = `${stem}-${n}`;
  taken.add(slug);
  return slug;
}

function classBanner(scenario: ScenarioAnalysis): string | null {
  const { durabilityClasses } = scenario;
  if (durabilityClasses.length < 2) return null;
  return `Acknowledgements here are of classes ${classWords(durabilityClasses)}, which promise different things. Compare figures of one class with each other only; the sentences above never compare engines across classes.`;
}

function bannersOf(run: Run, analysis: RunAnalysis): string[] {
  const banners: string[] = [];
  const missing = run.plannedTrialCount - run.trials.length;
  if (run.status === "partial") {
    banners.push(
      `This run is partial: it was interrupted or cut short after ${run.trials.length} of ${run.plannedTrialCount} planned trials. What is here is whole, but points and repetitions are missing.`,
    );
  } else if (missing > 0) {
    banners.push(`${countWords(missing, "planned trial")} did not run.`);
  }
  if (run.agreement !== null && !agreementWords(run.agreement).agrees)
    banners.push(agreementWords(run.agreement).sentence);
  if (analysis.strayTrials.length > 0) {
    const ids = [...new Set(analysis.strayTrials.map((trial) => trial.scenarioId))];
    banners.push(
      `${countWords(analysis.strayTrials.length, "trial")} of scenarios that the run does not describe (${listWords(ids)}) are listed among the raw trials only.`,
    );
  }
  return banners;
}

function verificationSentence(run: Run): string {
  const outcomes = run.trials.map((trial) => trial.verification?.outcome);
  const passed = outcomes.filter((outcome) => outcome === "passed").length;
  const failed = outcomes.filter((outcome) => outcome === "failed").length;
  if (passed + failed === 0) return "No trial was read back.";
  if (failed > 0) return `${countWords(failed, "trial")} failed when read back.`;
  const deletedCount = run.trials.filter(({ verification }) => (verification?.deletedMessages ?? 0) > 0).length;
  const deleted = deletedCount === 0 ? "" : `, in ${deletedCount} of them but for what retention had deleted`;
  return `What was acknowledged was read back and found whole in ${countWords(passed, "trial")}${deleted}.`;
}

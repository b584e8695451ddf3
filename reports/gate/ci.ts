/** What continuous integration reads: JUnit's XML and GitHub's annotations. */
import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import {
  commandWords,
  comparedWords,
  counterRows,
  counterSentence,
  figureRows,
  figureSentence,
  headline,
} from "./rows.js";

/**
 * A test case for each figure and counter, as the de facto schema of JUnit's Ant task has it: a regression is a failure,
 * wrong data an error, and what could not be decided is skipped: the run as a whole too, so that none reads as passed.
 */
export function junitXml(stored: GateResult): string {
  const result = cleanRecord(stored);
  const cases = [
    ...figureRows(result).map((row) => ({
      name: row.figure.id,
      failure: row.figure.gated && row.figure.verdict === "regression" ? `${row.reason}: ${row.ratio}` : null,
      skipped: row.figure.verdict === "inconclusive" ? row.reason : null,
      output: figureSentence(row),
    })),
    ...counterRows(result).map((row) => ({
      name: row.counter.id,
      failure: row.verdict === "regression" ? row.reason : null,
      skipped: row.verdict === "not-repeatable" ? row.reason : null,
      output: counterSentence(row),
    })),
    ...(result.outcome === "inconclusive"
      ? [{ name: "outcome", failure: null, skipped: headline(result), output: result.reasons.join(" ") }]
      : []),
  ];
  const count = (name: "failure" | "skipped") => cases.filter((testCase) => testCase[name] !== null).length;
  const seconds = (result.durationMs / 1000).toFixed(3);
  const suite = attributes({
    name: `gate: ${comparedWords(result)}`,
    tests: cases.length + result.failures.length,
    failures: count("failure"),
    errors: result.failures.length,
    skipped: count("skipped"),
    time: seconds,
    // Seconds, as the schema has them.
    timestamp: result.startedAt.slice(0, 19),
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${attributes({ name: "logduel", tests: cases.length + result.failures.length, time: seconds })}>`,
    `<testsuite ${suite}>`,
    `<properties><property ${attributes({ name: "command", value: commandWords(result) })}/></properties>`,
    ...cases.map(({ name, failure, skipped, output }) =>
      [
        `<testcase ${attributes({ classname: "logduel.gate", name })}>`,
        ...(failure === null ? [] : [`<failure ${attributes({ message: failure })}/>`]),
        ...(skipped === null ? [] : [`<skipped ${attributes({ message: skipped })}/>`]),
        `<system-out>${escapeXml(`${output}\nTo repeat: ${commandWords(result)}`)}</system-out>`,
        "</testcase>",
      ].join(""),
    ),
    ...result.failures.map(
      (failure, at) =>
        `<testcase ${attributes({ classname: "logduel.gate", name: `integrity ${at + 1}` })}><error ${attributes({ message: failure })}/></testcase>`,
    ),
    "</testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}="${escapeXml(String(value))}"`)
    .join(" ");
}

/** Also without the characters that XML 1.0 cannot hold at all. */
function escapeXml(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to be removed
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replaceAll("\n", "&#10;")
  );
}

/**
 * Workflow commands of GitHub Actions, a line each; print them and they stand on the run's page. Each is a reason with all
 * that is known of the figure or counter it is about, or of the gated figures where it is about none.
 */
export function githubAnnotations(stored: GateResult): string[] {
  const result = cleanRecord(stored);
  const level = { passed: "notice", regression: "error", inconclusive: "warning", failed: "error" }[result.outcome];
  const figures = figureRows(result);
  const counters = counterRows(result);
  const about = (reason: string): string[] => {
    const isAbout = (id: string) => reason.startsWith(`${id}: `);
    const named = [
      ...figures.filter(({ figure }) => isAbout(figure.id)).map(figureSentence),
      ...counters.filter(({ counter }) => isAbout(counter.id)).map(counterSentence),
    ];
    return named.length > 0 ? named : figures.filter(({ figure }) => figure.gated).map(figureSentence);
  };
  const title = escapeProperty(`logduel gate: ${result.outcome}`);
  return result.reasons.map((reason) => {
    const lines = [reason, ...about(reason), `To repeat: ${commandWords(result)}`];
    return `::${level} title=${title}::${escapeData(lines.join("\n"))}`;
  });
}

function escapeData(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

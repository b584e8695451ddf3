import CliTable from "cli-table3";
import { Eta } from "eta";
import { FEWEST_RUNS, type FigureHistory } from "../../results/gate-history.js";
import { cleanRecord } from "../clean.js";
import { STYLE } from "../html/style.js";
import { countWords } from "../words.js";
import { inUnit } from "./rows.js";
import { levelPlot, SVG_STYLE } from "./svg.js";

const eta = new Eta({ autoEscape: true, autoTrim: false });

const METHOD =
  "Changes of level are found by E-divisive (Matteson and James 2014) on the logarithms, at 1 % significance by permutation, over the runs of the last run's machine and settings. A level has three runs or more, so the last run alone is never judged.";

const TEMPLATE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>logduel gate: history</title>
<link rel="icon" href="data:,">
<style><%~ it.style %></style>
</head>
<body>
<main>
<h1>History of the gate</h1>
<p class="muted"><%= it.method %></p>
<% for (const figure of it.figures) { %>
<section>
<h2><%= figure.name %></h2>
<% if (figure.balance !== null) { %><p><%= figure.balance %></p><% } %>
<% if (figure.changes.length === 0) { %><p><%= figure.silence %></p><% } else { %><ul><% for (const change of figure.changes) { %><li><%= change %></li><% } %></ul><% } %>
<%~ figure.plot %>
</section>
<% } %>
</main>
</body>
</html>
`;

/** The history as one HTML file that needs nothing else: a chart for each figure, its levels drawn in. */
export function historyPage(stored: readonly FigureHistory[]): string {
  const histories = cleanRecord(stored);
  return eta.renderString(TEMPLATE, {
    style: STYLE + SVG_STYLE,
    method: METHOD,
    figures: histories.map((history) => ({
      name: history.id,
      changes: changeWords(history),
      silence: silenceOf(history),
      balance: balanceWords(history),
      plot: levelPlot(
        {
          values: history.values,
          changes: history.changes.map(({ at }) => at),
          first: runName(history, 0),
          last: runName(history, history.entries.length - 1),
          format: (value) => inUnit(value, history.unit),
        },
        history.levels,
      ),
    })),
  });
}

/** The changes of level on a terminal. */
export function historyTerminal(stored: readonly FigureHistory[]): string {
  if (stored.length === 0) return "No run with a timing was appended yet.";
  const histories = cleanRecord(stored);
  const table = new CliTable({ head: ["figure", "runs", "changes"], style: { head: [], border: [], compact: true } });
  for (const history of histories) {
    const changes = changeWords(history);
    const words = changes.length === 0 ? silenceOf(history) : changes.join("\n");
    table.push([history.id, String(history.values.length), [words, balanceWords(history) ?? []].flat().join("\n")]);
  }
  return table.toString();
}

/** "1a2b3c4, 2026-03-01: 412 k/s → 371 k/s (−10.0 %, p 0.001)". */
function changeWords(history: FigureHistory): string[] {
  return history.changes.map(({ at, p }, index) => {
    const [before, after] = [history.levels[index]!, history.levels[index + 1]!];
    const percent = (after / before - 1) * 100;
    const change = `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)} %`;
    return `${runName(history, at)}: ${inUnit(before, history.unit)} → ${inUnit(after, history.unit)} (${change}, p ${p.toFixed(3)})`;
  });
}

/** "Worse than its reference in 13 runs, better in 11."; null where no run says. */
function balanceWords({ balance: { worse, better, leans } }: FigureHistory): string | null {
  if (worse + better === 0) return null;
  const found = `Worse than its reference in ${countWords(worse, "run")}, better in ${better}.`;
  if (leans === null) return found;
  return `${found} The gate leans to "${leans}": either the changes do, or it is biased; --self-test tells.`;
}

function silenceOf({ values }: FigureHistory): string {
  return values.length < FEWEST_RUNS
    ? `${countWords(values.length, "run")}; changes are looked for from ${FEWEST_RUNS} on.`
    : "No change of level.";
}

function runName({ entries }: FigureHistory, at: number): string {
  const { commit, at: time } = entries[at]!;
  return `${commit?.slice(0, 7) ?? "no commit"}, ${time.slice(0, 10)}`;
}

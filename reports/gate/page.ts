import { Eta } from "eta";
import type { GateResult } from "../../results/gate.js";
import { cleanRecord } from "../clean.js";
import { STYLE } from "../html/style.js";
import { commandWords, comparedWords, counterRows, counterSummary, EXPLANATION, figureRows, headline } from "./rows.js";
import { blockRatios, ratioPlot, SVG_STYLE } from "./svg.js";

const eta = new Eta({ autoEscape: true, autoTrim: false });

/** `<%= %>` escapes, `<%~ %>` does not and is used for our own style and pictures alone. No script, nothing is fetched. */
const TEMPLATE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>logduel gate: <%= it.headline %></title>
<link rel="icon" href="data:,">
<style><%~ it.style %></style>
</head>
<body>
<main>
<h1 id="headline"><%= it.headline %></h1>
<p class="muted"><%= it.compared %>, <%= it.result.startedAt.slice(0, 16).replace("T", " ") %> UTC, profile <%= it.result.profile %>, <%= it.machine %></p>
<ul id="reasons"><% for (const reason of it.reasons) { %><li><%= reason %></li><% } %></ul>
<% if (it.result.doubts.length > 0) { %><p class="banner"><strong>Mind:</strong> <%= it.result.doubts.join(" ") %></p><% } %>
<% if (it.figures.length > 0) { %>
<h2>Timings</h2>
<%~ it.plot %>
<div class="scroll"><table id="figures">
<thead><tr><th>figure</th><th>reference</th><th>candidate</th><th>ratio</th><th>A/A</th><th>p</th><th>verdict</th></tr></thead>
<tbody><% for (const row of it.figures) { %>
<tr><td><%= row.name %></td><td class="number"><%= row.reference %></td><td class="number"><%= row.candidate %></td><td class="number"><%= row.ratio %></td><td class="number"><%= row.guard %></td><td class="number"><%= row.p %></td><td class="words"><%= row.verdict %>: <%= row.reason %></td></tr><% } %>
</tbody></table></div>
<p class="muted"><%= it.explanation %></p>
<details><summary>Block data</summary>
<p class="muted">Order: R the reference, G its second copy, C the candidate, one after the other; RC ∥ CG: all at the same time, each two of them on a processor of their own where processes can be pinned.</p>
<div class="scroll"><table id="blocks">
<thead><tr><th>figure</th><th>block</th><th>order</th><th>reference</th><th>guard</th><th>candidate</th><th>ratio</th></tr></thead>
<tbody><% for (const block of it.blocks) { %>
<tr><td><%= block.figure %></td><td><%= block.name %></td><td><%= block.order %></td><td class="number"><%= block.reference %></td><td class="number"><%= block.guard %></td><td class="number"><%= block.candidate %></td><td class="number"><%= block.ratio %></td></tr><% } %>
</tbody></table></div></details>
<% } %>
<h2>Counters</h2>
<p><%= it.counterSummary %></p>
<div class="scroll"><table id="counters">
<thead><tr><th>counter</th><th>reference</th><th>candidate</th><th>candidate, each</th><th>verdict</th></tr></thead>
<tbody><% for (const row of it.counters) { %>
<tr<% if (row.verdict === "equal") { %> class="muted"<% } %>><td><%= row.name %></td><td class="number"><%= row.reference %></td><td class="number"><%= row.candidate %></td><td class="number"><%= row.each %></td><td><%= row.verdict %>: <%= row.reason %></td></tr><% } %>
</tbody></table></div>
<h2>To repeat</h2>
<p><code><%= it.command %></code></p>
</main>
</body>
</html>
`;

/** The comparison as one HTML file that needs nothing else. */
export function gatePage(stored: GateResult): string {
  const result = cleanRecord(stored);
  const { environment } = result;
  return eta.renderString(TEMPLATE, {
    result,
    style: STYLE + SVG_STYLE,
    headline: headline(result),
    compared: comparedWords(result),
    machine: `${environment.cpu.logicalCores} × ${environment.cpu.model}, ${environment.filesystem.type}, Node ${environment.node.version}`,
    reasons: result.reasons,
    figures: figureRows(result),
    plot: ratioPlot(result.figures),
    explanation: EXPLANATION,
    blocks: blockRows(result),
    counters: counterRows(result),
    counterSummary: counterSummary(result),
    command: commandWords(result),
  });
}

function blockRows({ figures }: GateResult) {
  const list = (values: readonly number[]) => values.map((value) => value.toPrecision(4)).join(", ");
  return figures.flatMap(({ id, screen, confirmation }) =>
    [screen, ...(confirmation === null ? [] : [confirmation])].flatMap(({ blocks }, round) =>
      blocks.map((block, at) => ({
        figure: id,
        name: `${round === 0 ? "" : "re-run "}${at + 1}`,
        order: block.isDuet ? `${block.order.slice(0, 2)} ∥ ${block.order.slice(2)}` : block.order,
        reference: list(block.reference),
        guard: list(block.guard),
        candidate: list(block.candidate),
        ratio: blockRatios([block])[0]!.toFixed(4),
      })),
    ),
  );
}

/** The page in Eta: `<%= %>` escapes, `<%~ %>` does not and is used for our own style and scripts alone. */
export const TEMPLATE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="<%= it.contentPolicy %>">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>logduel report <%= it.model.run.runId %></title>
<link rel="icon" href="data:,">
<style><%~ it.style %></style>
</head>
<body>
<main>
<header>
<h1>One log per partition or one shared commitlog?</h1>
<p class="muted">logduel report of run <%= it.model.run.runId %>, <%= it.started %>, profile <%= it.model.run.profile %>, on <%= it.machine %></p>
<% for (const banner of it.model.banners) { %>
<p class="banner" role="note"><strong>Mind:</strong> <%= banner %></p>
<% } %>
<p id="summary"><%= it.model.summary %></p>
</header>

<h2>Answers</h2>
<ol class="answers">
<% for (const scenario of it.model.scenarios) { %>
<li><a href="#<%= scenario.slug %>"><%= scenario.analysis.record.title %></a>
<p><%= scenario.answer.headline %></p>
<% if (scenario.answer.basis !== null) { %><p class="basis"><%= scenario.answer.basis %></p><% } %></li>
<% } %>
</ol>
<% if (it.model.unresolved !== null) { %>
<details><summary><%= it.model.unresolved.heading %> (<%= it.model.unresolved.sentences.length %>)</summary><%~ it.list(it.model.unresolved.sentences) %></details>
<% } %>
<% if (it.model.sharedDoubts.length > 0) { %>
<details id="shared-doubts"><summary>Doubts that several scenarios share (<%= it.model.sharedDoubts.length %>)</summary><%~ it.list(it.model.sharedDoubts) %></details>
<% } %>
<p class="muted">Figures hold for the machine and the disk below. Acknowledgements mean: <%= it.classMeanings %>. <a href="#method">How they were made</a>, <a href="#environment">where</a>, <a href="#raw-trials">every trial</a>.</p>
<noscript><p class="banner">The charts need JavaScript; the tables hold the same figures.</p></noscript>

<% for (const scenario of it.model.scenarios) { const { record } = scenario.analysis; %>
<section id="<%= scenario.slug %>">
<h2><%= record.title %></h2>
<p class="question"><%= record.question %></p>
<p class="answer"><%= scenario.answer.headline %></p>
<% if (scenario.answer.basis !== null) { %><p class="basis"><%= scenario.answer.basis %></p><% } %>
<% if (scenario.classBanner !== null) { %>
<p class="banner" role="note"><strong>Mind the classes:</strong> <%= scenario.classBanner %></p>
<% } %>
<% if (scenario.failures.length > 0) { %>
<div class="banner" role="note"><strong><%= it.countWords(scenario.failures.length, "trial") %> failed</strong> and <%= scenario.failures.length === 1 ? "counts" : "count" %> nowhere:
<ul class="failures">
<% for (const failure of scenario.failures) { %><li><%= failure.where %>: <%= failure.reasons.join(" ") %></li><% } %>
</ul></div>
<% } %>
<%~ it.charts(scenario.charts.main) %>
<% if (scenario.charts.more.length > 0) { %>
<details><summary><%= it.countWords(scenario.charts.more.length, "more chart") %></summary>
<%~ it.charts(scenario.charts.more) %>
</details>
<% } %>
<dl class="plain">
<dt>Expected</dt><dd><%= record.expectation %></dd>
<dt>Would be refuted if</dt><dd><%= record.refutedIf %></dd>
<% if (scenario.answer.measured.length > 0) { %>
<dt>Measured</dt><dd><%~ it.list(scenario.answer.measured) %></dd>
<% } %>
<% if (scenario.course !== null) { %>
<dt>Measured</dt><dd>In the table <a href="#<%= scenario.course.id %>">below</a>, by <%= it.facetNames(scenario) %></dd>
<% } %>
<% if (scenario.answer.details.length > 0) { %>
<dt>More in numbers</dt><dd><%~ it.list(scenario.answer.details) %></dd>
<% } %>
<% if (scenario.doubts.length > 0) { %>
<dt>Validity</dt><dd><%~ it.list(scenario.doubts) %></dd>
<% } %>
<% if (scenario.measureTimes.length > 0) { %>
<dt>Measured for</dt><dd><%~ it.list(scenario.measureTimes) %></dd>
<% } %>
<% if (scenario.warnings.length > 0) { %>
<dt>Warnings</dt><dd><%~ it.list(scenario.warnings) %></dd>
<% } %>
</dl>
<% if (scenario.course !== null) { %>
<h3>Measured against the expectation</h3>
<%~ it.table(scenario.course) %>
<% } %>
<h3>Throughput</h3>
<%~ it.table(scenario.throughput) %>
<h3>Response time</h3>
<%~ it.table(scenario.latency) %>
<% if (scenario.validity.rows.length > 0) { %>
<details><summary>Why <%= it.countWords(scenario.validity.rows.length, "figure") %> <%= scenario.validity.rows.length === 1 ? "is" : "are" %> doubtful or invalid</summary>
<%~ it.table(scenario.validity) %>
</details>
<% } %>
<% if (scenario.tail.rows.length > 0) { %>
<h3>What the slowest messages waited for</h3>
<%~ it.table(scenario.tail) %>
<% } %>
<% if (scenario.cost.rows.length > 0) { %>
<details><summary>What a message cost: device, calls, CPU, memory</summary>
<%~ it.table(scenario.cost) %>
</details>
<% } %>
<% if (scenario.machine.rows.length > 0) { %>
<details><summary>What process and machine did meanwhile: event loop, garbage collection, processors, device</summary>
<%~ it.table(scenario.machine) %>
</details>
<% } %>
<details><summary>What the engines did: batches, syncs, bytes</summary>
<%~ it.table(scenario.work) %>
</details>
</section>
<% } %>

<% if (it.model.searches.rows.length > 0) { %>
<section id="searches">
<h2>The highest rate that meets the objective</h2>
<%~ it.table(it.model.searches) %>
</section>
<% } %>

<section id="method">
<h2>How the figures were made</h2>
<ul>
<% for (const rule of it.method) { %><li><%= rule %></li><% } %>
</ul>
<h3>To repeat this run</h3>
<p><code><%= it.command %></code></p>
</section>

<section id="environment">
<h2>Where: machine, device, settings</h2>
<h3>What the device can do</h3>
<%~ it.table(it.model.probe) %>
<dl class="plain" id="environment-list">
<% for (const [name, value] of it.environment) { %>
<dt><%= name %></dt><dd><%= value %></dd>
<% } %>
</dl>
</section>

<section id="raw-trials">
<h2>Every trial</h2>
<details><summary><%= it.countWords(it.model.run.trials.length, "trial") %> in the order of the run</summary>
<%~ it.table(it.model.rawTrials) %>
</details>
</section>
</main>
<script type="application/json" id="chart-data"><%~ it.chartData %></script>
<script><%~ it.chartLibrary %></script>
<script type="module"><%~ it.pageScript %></script>
</body>
</html>
`;

export const CHARTS_TEMPLATE = `<div class="charts">
<% for (const chart of it.charts) { %>
<figure><figcaption><strong><%= chart.title %></strong><span class="about"><%= chart.subtitle %></span></figcaption>
<div class="canvas<% if (chart.panels !== undefined) { %> tall<% } %>"><canvas data-chart="<%= chart.id %>" id="<%= chart.id %>" role="img" aria-label="<%= chart.title %>. <%= chart.subtitle %>. The figures are in the tables below."></canvas></div></figure>
<% } %>
</div>`;

export const TABLE_TEMPLATE = `<div class="scroll" tabindex="0" role="region" aria-label="<%= it.table.caption %>"><table id="<%= it.table.id %>">
<caption><span><%= it.table.caption %></span></caption>
<thead><tr><% for (const column of it.table.columns) { %><th scope="col"<% if (column.isNumber) { %> class="number"<% } %>><%= column.label %></th><% } %></tr></thead>
<tbody>
<% for (const row of it.table.rows) { %>
<tr<% if (row.isMuted) { %> class="muted"<% } %>><% row.cells.forEach((cell, i) => { const column = it.table.columns[i]; %><td data-column="<%= column.name %>" class="<%= column.isNumber ? "number" : cell.text.length > 24 ? "words" : "name" %>"><% if (cell.value === undefined) { %><%= cell.text %><% } else { %><data value="<%= cell.value %>"><%= cell.text %></data><% } %><% if (cell.note !== undefined) { %><span class="note"><%= cell.note %></span><% } %></td><% }) %></tr>
<% } %>
</tbody>
</table></div>`;

export const LIST_TEMPLATE = `<% if (it.items.length === 1) { %><%= it.items[0] %><% } else { %><ul><% for (const item of it.items) { %><li><%= item %></li><% } %></ul><% } %>`;

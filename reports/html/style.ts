/** The page's style sheet: one column of text, charts and tables as wide as the window allows, light, dark and print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --background: #ffffff;
  --raised: #f5f6f7;
  --ink: #1c2024;
  --muted: #5b636b;
  --line: #d8dce0;
  --link: #005a9c;
  --caution: #8a4b00;
  --caution-background: #fff4e0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --background: #16191c;
    --raised: #1f2327;
    --ink: #e8eaec;
    --muted: #a3abb3;
    --line: #363c42;
    --link: #7cc4f5;
    --caution: #ffc069;
    --caution-background: #33270f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0;
  background: var(--background);
  color: var(--ink);
  font: 1rem/1.55 system-ui, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.25rem; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 0.5rem; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 0.5rem; }
p, ul, ol, dl { max-width: 50rem; margin: 0 0 0.9rem; }
a { color: var(--link); }
code { font: 0.9em/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.muted, .note, caption, figcaption .about { color: var(--muted); }
.banner {
  max-width: 50rem;
  margin: 0 0 1rem;
  padding: 0.65rem 0.9rem;
  border-left: 4px solid var(--caution);
  background: var(--caution-background);
}
.banner :last-child { margin-bottom: 0; }
.banner strong { color: var(--caution); }
.answers { list-style: none; padding: 0; max-width: none; display: grid; gap: 0.75rem; }
.answers li { padding: 0.8rem 1rem; background: var(--raised); border-radius: 6px; }
.answers p { max-width: 62rem; margin: 0.2rem 0 0; }
.basis { color: var(--muted); font-size: 0.88rem; max-width: 62rem; }
.answers a { font-weight: 600; }
section { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.75rem; }
.question { font-size: 1.12rem; color: var(--muted); margin-bottom: 0.5rem; }
.answer { font-size: 1.12rem; max-width: 62rem; margin-bottom: 0.3rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 33rem), 1fr)); gap: 1.5rem 2rem; margin: 1.25rem 0; }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: 0.4rem; line-height: 1.35; }
figcaption strong { display: block; }
figcaption .about { font-size: 0.85rem; }
.canvas { position: relative; height: 24rem; }
.canvas.tall { height: 42rem; }
dl.plain { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.25rem; max-width: 62rem; }
dl.plain dt { color: var(--muted); }
dl.plain dd { margin: 0; }
dl.plain dd p, dl.plain dd ul { margin: 0; max-width: none; }
dl.plain dd ul { padding-left: 1.1rem; }
.scroll { overflow-x: auto; margin: 0 0 1.25rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.4rem; }
caption span { display: block; position: sticky; left: 0; max-width: min(62rem, calc(100vw - 2rem)); }
th, td { padding: 0.35rem 0.7rem 0.35rem 0; vertical-align: top; text-align: left; overflow-wrap: normal; }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; font-weight: 600; }
tbody td { border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; padding-left: 0.4rem; }
td.number { white-space: nowrap; }
td.number .note { white-space: normal; }
td .note { display: block; font-size: 0.85em; }
tr.muted td { color: var(--muted); }
td.name { white-space: nowrap; }
td.words { min-width: 11rem; max-width: 24rem; overflow-wrap: anywhere; }
details { margin: 0.9rem 0; }
summary { cursor: pointer; color: var(--link); padding: 0.2rem 0; }
.failures { margin-top: 0.2rem; }
@media (max-width: 40rem) {
  main { padding: 1.25rem 0.9rem 3rem; }
  h1 { font-size: 1.55rem; }
  .canvas { height: 27rem; }
  .canvas.tall { height: 46rem; }
  dl.plain { grid-template-columns: 1fr; gap: 0 0; }
  dl.plain dd { margin-bottom: 0.6rem; }
}
@media print {
  :root {
    --background: #ffffff; --raised: #f5f6f7; --ink: #000000; --muted: #444444; --line: #bbbbbb;
    --link: #000000; --caution: #8a4b00; --caution-background: #fff4e0;
  }
  main { max-width: none; padding: 0; }
  figure, .answers li, tr { break-inside: avoid; }
  h2, h3, figcaption, thead { break-after: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 0.62rem; }
  th, td { padding-right: 0.35rem; }
  details:not([open]) { display: none; }
}
`;

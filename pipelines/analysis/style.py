"""The report's one theme, for paper-white and for night."""

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --card: #ffffff; --ink: #1c2430; --muted: #5b6472; --line: #e3dfd6; --band: #f1eee6;
  --accent: #2f6690; --history: #2f6690; --drones: #d9772b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #181d25; --ink: #e8eaee; --muted: #9aa4b3; --line: #2a313c; --band: #1c222b;
    --accent: #6fa8d6; --history: #6fa8d6; --drones: #ee9a52;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
header, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; padding-bottom: 1rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.4rem); line-height: 1.15; margin: 0 0 .5rem; letter-spacing: -.015em; }
h2 { font-size: clamp(1.2rem, 2.6vw, 1.5rem); line-height: 1.25; margin: 0 0 .75rem; text-wrap: balance; }
.question { color: var(--muted); font-size: .875rem; margin: 0 0 .35rem; }
.lead { color: var(--muted); margin: 0; max-width: 44rem; }
.note { color: var(--muted); font-size: .875rem; margin-top: .75rem; }
p { margin: 0 0 .75rem; }
section { border-top: 1px solid var(--line); padding: 2.25rem 0; }
figure { margin: 1rem 0 0; }
figcaption { color: var(--muted); font-size: .875rem; margin-bottom: .5rem; }
svg { display: block; width: 100%; height: auto; }
svg.narrow { max-width: 26rem; }
svg.wide { display: none; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: right; padding: .3rem 0 .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; }
thead th { color: var(--muted); font-weight: 400; font-size: .8125rem; vertical-align: bottom; }
tbody th { font-weight: 400; }
section > div:first-child table { font-size: .875rem; }
section > div:first-child th { white-space: nowrap; }
.scroll { overflow-x: auto; }
details { margin-top: .75rem; font-size: .9375rem; }
details table { font-size: .875rem; }
.letters { margin-top: 1rem; }
.letters details { margin-top: 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; color: var(--muted); padding: .35rem 0; }
summary:hover, summary:focus-visible { color: var(--ink); }
code { font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.samples { margin: 0 0 1rem; padding: 0; list-style: none; }
.samples li {
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; margin-top: .5rem;
}
.samples small { display: block; color: var(--muted); overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: .875rem; padding-bottom: 3rem; }
@media (min-width: 48rem) {
  svg.wide { display: block; max-width: 50rem; }
  svg.narrow { display: none; }
}
@media (min-width: 68rem) {
  section { display: grid; grid-template-columns: 22rem minmax(0, 1fr); column-gap: 3rem; align-items: start; }
  figure:first-child { margin-top: 0; }
}
@media print { details > * { display: block; } section { break-inside: avoid; } }
"""
"""A chart has a drawing for wide screens and one for narrow ones; the page shows one of them."""

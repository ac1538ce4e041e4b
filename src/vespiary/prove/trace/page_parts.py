"""The style, the script and the words of the report's page."""

from typing import Final

from vespiary.prove.trace.proving.record import (
    ANY_OF_TYPE,
    ANY_RESULT,
    BROKEN,
    COLLECTION,
    CRASH,
    MASKED,
    ONE_RESULT,
    TIMEOUT,
    UNFILTERED,
)

__all__ = ["HOW", "MEANINGS", "SCRIPT", "STYLE", "VERDICTS"]

MEANINGS: Final = {
    "unmapped": "no code is marked with the requirement",
    "implemented": "some code is marked with it",
    "executed": "a test that claims it executes marked code, but does not fail without all of it",
    "reached": "like proven, but for some of the marked code it is only shown that a test"
    " executes it",
    "proven": "each marked condition was disabled, and a test that claims the requirement failed",
    "confirmed": "reached or proven, and another test suite confirms it too",
    "excluded": "the catalogue says why it is excluded",
    "todo": "it is not proven yet, and the catalogue has the address of an issue",
}
"""What each status means."""

VERDICTS: Final = {
    "proven": "a test fails without it",
    "reached": "only shown to be executed",
    "survived": "no claiming test fails without it",
    MASKED: "no claiming test fails without it alone",
    "not executed": "no claiming test makes it true",
}
"""What the verdicts on marked code mean."""

HOW: Final = {
    COLLECTION: "because pytest cannot import it",
    CRASH: "by a crash of its process",
    BROKEN: "by a crash of the code",
    TIMEOUT: "by a timeout",
    ANY_RESULT: "because any result would do",
    ANY_OF_TYPE: "because any result of its type would do",
    ONE_RESULT: "because no test needs the other result",
    UNFILTERED: "because no test needs the values that it rejects",
}
"""How a test has failed, where that is less than an assertion."""

STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --poor: #b35900; --bad: #c62828 }
@media (prefers-color-scheme: dark) {
  :root { --good: #56d364; --poor: #e3a03c; --bad: #ff8a80 }
}
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem;
  overflow-wrap: break-word; padding: 0 1rem 4rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
td.name { white-space: nowrap }
.totals { display: flex; flex-wrap: wrap; gap: .4rem .6rem }
.totals button { background: none; cursor: pointer; width: auto }
.totals button:disabled { cursor: default }
.totals b { color: CanvasText }
th, td { border: 1px solid var(--line); padding: .2rem .6rem; text-align: right }
th { font-weight: normal }
thead th { font-weight: bold }
tbody th, .name { text-align: left }
#filters { position: sticky; top: 0; background: Canvas; border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; padding: .6rem 0; z-index: 1 }
#filters[hidden] { display: none }
label { display: grid; font-size: .85rem }
label.wide { flex: 1 1 14rem }
input, select, button { font: inherit; padding: .25rem .4rem }
nav a { margin-right: 1rem }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; scroll-margin-top: 6rem }
summary { cursor: pointer }
summary code { font-weight: bold }
summary i { opacity: .8 }
.status { border: 1px solid currentColor; border-radius: .8em; padding: 0 .5em; font-size: .85rem;
  white-space: nowrap }
.reached, .proven, .confirmed { color: var(--good) }
.executed, .implemented { color: var(--poor) }
.unmapped { color: var(--bad) }
.reason { display: block; margin-left: 1.2rem; font-size: .85rem; color: var(--poor) }
.scroll { overflow-x: auto }
dl { margin: .4rem 0 .6rem 1.2rem; display: grid; grid-template-columns: 8rem 1fr; gap: .2rem 1rem }
dt { font-weight: bold }
dd { margin: 0; overflow-wrap: anywhere }
dd ul { margin: 0; padding-left: 1.1rem }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr }
  #filters { position: static; gap: .4rem }
  #filters label { flex: 1 1 8rem }
  input, select, button { width: 100%; min-height: 2.6rem; font-size: 1rem }
  summary { padding: .4rem 0; overflow-wrap: anywhere }
  nav a { display: inline-block; padding: .5rem 0 }
}
"""

SCRIPT = """
"use strict";
const form = document.getElementById("filters");
const all = [...document.querySelectorAll("#requirements details")];
const words = all.map((one) => one.textContent.toLowerCase());
function show() {
  const wanted = Object.fromEntries(new FormData(form));
  const parts = wanted.text.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  all.forEach((one, place) => {
    const fits = ["specification", "level", "status", "why"].every(
      (key) => !wanted[key] || one.dataset[key] === wanted[key]) &&
      (!wanted.role || one.dataset.role.split(" ").includes(wanted.role)) &&
      parts.every((part) => words[place].includes(part));
    one.hidden = !fits;
    count += fits;
  });
  form.elements.count.value = `${count} of ${all.length} requirements`;
}
form.hidden = false;
for (const total of document.querySelectorAll("#totals button")) {
  total.disabled = false;
  total.addEventListener("click", () => { form.elements.status.value = total.value; show(); });
}
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(show));
function open() {
  const one = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (one) { one.open = true; one.scrollIntoView(); }
}
addEventListener("hashchange", open);
show();
open();
"""

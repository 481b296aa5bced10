"use strict";
// The data of the page, which runs are shown, and what a reader has set, kept while the page reloads itself.

const DATA = JSON.parse(document.getElementById("data").textContent);
const HIDDEN = new Set(); // numbers of runs that are switched off
const LISTENERS = { selection: [], focus: [], theme: [], print: [] };

document.documentElement.classList.add("script");

function listen(event, action) {
  LISTENERS[event].push(action);
}

function tell(event, value) {
  for (const action of LISTENERS[event]) action(value);
}

// localStorage is not there for every file that is opened from a disk.
function remember(name, value) {
  try { sessionStorage.setItem(`report ${name}`, JSON.stringify(value)); } catch { /* not kept */ }
}

function recall(name, otherwise) {
  try {
    const found = sessionStorage.getItem(`report ${name}`);
    return DATA.renewed && found !== null ? JSON.parse(found) : otherwise;
  } catch {
    return otherwise;
  }
}

// An element with attributes and children; texts become text, never markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function format(value) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

{
  const switches = [...document.querySelectorAll("#selection input[type=checkbox]")];
  const runsOf = (box) => box.dataset.runs.split(" ").map(Number);

  const update = () => {
    for (const box of switches) {
      const shown = runsOf(box).filter((run) => !HIDDEN.has(run)).length;
      box.checked = shown > 0;
      box.indeterminate = shown > 0 && shown < runsOf(box).length;
    }
    const count = DATA.runs.length;
    document.getElementById("selection-count").textContent = `${count - HIDDEN.size} of ${count}`;
    remember("hidden", [...HIDDEN]);
    tell("selection");
  };

  const show = (runs, shown) => {
    for (const run of runs) {
      if (shown) HIDDEN.delete(run);
      else HIDDEN.add(run);
    }
    update();
  };

  for (const box of switches) {
    box.addEventListener("change", () => show(runsOf(box), box.checked));
    const label = box.closest("label");
    for (const event of ["mouseenter", "focusin"]) label.addEventListener(event, () => tell("focus", runsOf(box)));
    for (const event of ["mouseleave", "focusout"]) label.addEventListener(event, () => tell("focus", null));
  }
  const all = DATA.runs.map((_, run) => run);
  document.getElementById("select-all").addEventListener("click", () => show(all, true));
  document.getElementById("select-none").addEventListener("click", () => show(all, false));
  const filter = document.getElementById("selection-filter");
  if (filter) {
    filter.addEventListener("input", () => {
      for (const item of document.querySelectorAll("#selection .group")) {
        item.hidden = !item.textContent.toLowerCase().includes(filter.value.toLowerCase());
      }
    });
  }
  if (matchMedia("(max-width: 60rem)").matches) document.getElementById("selection").open = false;
  for (const run of recall("hidden", [])) if (run < DATA.runs.length) HIDDEN.add(run);
  addEventListener("load", update);
}

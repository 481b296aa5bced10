"use strict";
// Tables that sort, and how the numbers of a row were measured.

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return heads[column].classList.contains("number") ? null : cell.textContent.trim();
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };

  const sort = (column, direction) => {
    for (const head of heads) if (head.hasAttribute("aria-sort")) head.setAttribute("aria-sort", "none");
    table.classList.toggle("sorted", direction !== "none");
    if (direction === "none") {
      body.append(...original);
      return;
    }
    heads[column].setAttribute("aria-sort", direction);
    const rows = original.filter((row) => !row.classList.contains("heading"));
    const isEmpty = (row) => [null, ""].includes(valueOf(row, column));
    const sorted = rows.filter((row) => !isEmpty(row));
    sorted.sort((a, b) => compare(valueOf(a, column), valueOf(b, column)) * (direction === "ascending" ? 1 : -1));
    body.append(...sorted, ...rows.filter(isEmpty)); // rows without a value are last in both directions
  };

  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.disabled = false;
    button.title = "Sort: ascending, descending, as it was";
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      sort(column, next[head.getAttribute("aria-sort")]);
    });
  });
}

function openDialog(title, ...content) {
  const dialog = document.getElementById("dialog");
  document.getElementById("dialog-title").textContent = title;
  document.getElementById("dialog-body").replaceChildren(...content);
  dialog.showModal();
}

document.getElementById("dialog").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close(); // outside of its content
});

function listFields(fields) {
  const list = make("dl");
  for (const [name, value] of fields) list.append(make("dt", {}, name), make("dd", {}, value));
  return list;
}

for (const button of document.querySelectorAll("button.protocol")) {
  button.addEventListener("click", () => {
    const { name, common, scores } = DATA.protocols[Number(button.dataset.protocol)];
    const parts = [];
    if (common.length) parts.push(make("h3", {}, "All scores"), listFields(common));
    for (const score of scores) {
      const numbers = score.numbers.map(([run, text]) => (run ? `${run}: ${text}` : text)).join(", ");
      parts.push(make("h3", {}, score.title), make("p", {}, numbers), listFields(score.fields));
    }
    openDialog(`How it was measured: ${name}`, ...parts);
  });
}

"use strict";
// Everything below reads text and writes text: nothing of the results is ever taken for markup.
function sortBy(table, column, header) {
  const body = table.tBodies[0];
  const down = header.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const keyed = [...body.rows].map((row) => [row.cells[column].dataset.key, row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // what is undefined stays last
    const numbers = [Number(a), Number(b)];
    const order = numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
    return down ? -order : order;
  });
  body.append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => sortBy(table, column, header));
  });
}

const browser = document.getElementById("browser");
if (browser) {
  const samples = JSON.parse(document.getElementById("samples").textContent);
  const shown = ["method", "outcome", "group", "question", "answer", "target", "before", "after"];
  const WRONG = ["still given", "lost", "neighbour refuses"];
  const many = new Set(samples.map((s) => s.setting)).size > 1;
  const fields = many ? ["setting", ...shown] : shown;
  const search = document.getElementById("search");
  const filters = [...browser.querySelectorAll("select")];
  for (const filter of filters) {
    for (const value of [...new Set(samples.map((s) => s[filter.name]))].filter(Boolean)) {
      filter.append(new Option(value, value));
    }
  }
  const head = document.getElementById("head");
  for (const field of fields) head.append(Object.assign(document.createElement("th"), { textContent: field }));
  const text = samples.map((s) => fields.map((field) => s[field] ?? "").join("\n").toLowerCase());
  const LIMIT = 200;
  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const chosen = samples.filter(
      (s, i) => text[i].includes(wanted) && filters.every((f) => !f.value || s[f.name] === f.value),
    );
    document.getElementById("rows").replaceChildren(
      ...chosen.slice(0, LIMIT).map((s) => {
        const row = document.createElement("tr");
        for (const field of fields) {
          const cell = row.insertCell();
          cell.dataset.label = field;
          if (field === "after") {
            for (const [words, changed] of s.parts) {
              cell.append(changed ? Object.assign(document.createElement("mark"), { textContent: words }) : words);
            }
          } else cell.textContent = s[field] ?? "";
          if (field === "outcome" && WRONG.includes(s.outcome)) cell.className = "wrong";
        }
        return row;
      }),
    );
    const cut = chosen.length > LIMIT ? `, the first ${LIMIT} shown` : "";
    document.getElementById("count").textContent = `${chosen.length} of ${samples.length} prompts${cut}`;
  }
  search.addEventListener("input", draw);
  for (const filter of filters) filter.addEventListener("change", draw);
  draw();
}

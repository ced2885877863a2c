// Tables: sorted by a click on a title, filtered by a word.

const LEAST_ROWS_TO_FILTER = 6;

function equip(table, index) {
  const body = table.tBodies[0], rows = [...body.rows], key = "t" + index;
  if (rows.length < 2) return;
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => {
    const button = make("button", { type: "button", class: "sort" }, ...title.childNodes);
    title.append(button);
    button.addEventListener("click", () => {
      const [by, way] = state.get(key + ".sort").split(".");
      const next = by !== String(column) ? "up" : way === "up" ? "down" : "";
      state.set(key + ".sort", next && column + "." + next);
      show();
    });
  });

  let field, count;
  if (rows.length >= LEAST_ROWS_TO_FILTER) {
    field = make("input", { type: "search", placeholder: "filter rows", "aria-label": "Filter the rows of this table" });
    count = make("span", { role: "status", class: "soft" });
    field.addEventListener("input", () => {
      state.set(key + ".find", field.value);
      show();
    });
    table.parentNode.before(make("p", { class: "tools" }, field, " ", count));
  }

  function show() {
    const [by, way] = state.get(key + ".sort").split(".");
    titles.forEach((title, column) => {
      const isBy = by === String(column);
      title.setAttribute("aria-sort", !isBy ? "none" : way === "up" ? "ascending" : "descending");
    });
    body.append(...(by ? sorted(rows, Number(by), way === "up" ? 1 : -1) : rows));
    if (!field) return;
    const wanted = state.get(key + ".find");
    if (field.value !== wanted) field.value = wanted;
    const words = plain(wanted).split(" ").filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => plain(row.textContent).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
  }
  state.add(show);
}

/** Small letters, and spaces of every width as one. */
const plain = (text) => text.toLowerCase().replace(/\s+/g, " ");

/** By the number behind a cell, else by its text; a cell without either comes last. */
function sorted(rows, column, way) {
  const key = (row) => {
    const cell = row.cells[column];
    const value = cell.dataset.value;
    return value !== undefined ? Number(value) : cell.classList.contains("n") ? NaN : cell.textContent.trim();
  };
  const isMissing = (value) => value === "–" || Number.isNaN(value);
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y);
    return way * (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true }));
  });
}

document.querySelectorAll(".scroll > table").forEach(equip);

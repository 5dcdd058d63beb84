"use strict";
// A table that can be sorted by its columns, filtered, paged through and saved as CSV.
// columns: {label, value(row) for sorting, filtering and CSV, cell(row) for showing, number: true for right alignment}

const number = (label, value, cell) => ({ label, number: true, value, cell });
const share = (label, value, digits = 1) => number(label, value, (row) => percent(value(row), digits));

function makeTable(parent, { caption, file, columns, rows, sort = null, down = false, size = 50, filter = true }) {
  const state = { rows, order: rows, sort, down, page: 0, text: "" };
  const head = element("tr"), body = element("tbody");
  const status = element("p", { role: "status", class: "note" });
  const back = element("button", { type: "button", onclick: () => turn(-1) }, "Previous");
  const next = element("button", { type: "button", onclick: () => turn(1) }, "Next");
  const where = element("span");
  const pages = element("div", { class: "pages" }, back, where, next);
  const search = element("input", { type: "search", oninput: () => { state.text = search.value; state.page = 0; update(); } });
  const save = element("button", { type: "button", onclick: download }, "Save as CSV");
  const controls = element("div", { class: "controls" });
  if (filter) controls.append(labelled(`Filter: ${caption}`, search));
  controls.append(save, status);
  const table = element("table", {}, element("caption", {}, caption), element("thead", {}, head), body);
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${caption}` }, table);
  parent.append(controls, scroll, pages);

  columns.forEach((column, index) => {
    const arrow = element("span", { "aria-hidden": "true" });
    const button = element("button", { type: "button", onclick: () => sortBy(index) }, column.label, arrow);
    column.arrow = arrow;
    column.head = element("th", { scope: "col", class: column.number ? "number" : "" }, button);
    head.append(column.head);
  });

  function sortBy(index) {
    state.down = state.sort === index ? !state.down : columns[index].number === true;
    state.sort = index;
    state.page = 0;
    update();
  }

  function turn(by) {
    state.page += by;
    show();
  }

  function update() {
    const wanted = state.text.trim().toLowerCase();
    state.order = state.rows.filter((row) => !wanted ||
      columns.some((column) => String(column.value(row) ?? "").toLowerCase().includes(wanted)));
    if (state.sort !== null) {
      const value = columns[state.sort].value, sign = state.down ? -1 : 1;
      state.order = state.order.map((row, place) => [value(row), place, row]).sort(([a, i], [b, j]) => {
        if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1; // unknown values come last
        if (a === b) return i - j;
        return sign * compareValues(a, b);
      }).map(([, , row]) => row);
    }
    columns.forEach((column, index) => {
      column.head.setAttribute("aria-sort", index !== state.sort ? "none" : state.down ? "descending" : "ascending");
      column.arrow.textContent = index !== state.sort ? "" : state.down ? " ▼" : " ▲";
    });
    show();
  }

  function show() {
    const count = Math.max(1, Math.ceil(state.order.length / size));
    state.page = Math.min(Math.max(state.page, 0), count - 1);
    const shown = state.order.slice(state.page * size, (state.page + 1) * size);
    body.replaceChildren(...shown.map((row) => element("tr", {}, ...columns.map((column) => {
      const cell = column.cell ? column.cell(row) : column.value(row);
      return element("td", { class: `${column.number ? "number" : "text"} ${column.mark ? column.mark(row) : ""}`.trim() },
        cell instanceof Node ? cell : column.number ? String(cell ?? "–") : named(String(cell ?? "")));
    }))));
    const all = state.rows.length, some = state.order.length;
    status.textContent = some === all ? counted(all, "row") : `${some.toLocaleString("en")} of ${counted(all, "row")}`;
    where.textContent = `page ${state.page + 1} of ${count}`;
    back.disabled = state.page === 0;
    next.disabled = state.page === count - 1;
    pages.hidden = count === 1;
  }

  function download() {
    // an apostrophe keeps a name that begins like a formula from being computed by a spreadsheet
    const text = (value) => (isNaN(value ?? "") ? String(value).replace(/(^|;)(?=[=+@\uff1d\uff0b\uff0d\uff20-])/g, "$1'") : String(value ?? ""));
    const quote = (value) => `"${text(value).replaceAll('"', '""')}"`;
    const lines = [columns.map((column) => quote(column.label)).join(",")];
    for (const row of state.order) lines.push(columns.map((column) => quote(column.value(row))).join(","));
    const link = element("a", { href: URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" })), download: file });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  update();
  return { setRows(rows) { state.rows = rows; state.page = 0; update(); } };
}

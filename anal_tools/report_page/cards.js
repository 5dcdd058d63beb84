"use strict";
// Shows videos as cards with their frames and errors, which can be filtered and sorted; the first ones, or all of them.

const FIRST_CARDS = 24;

// orders: name -> key of a row to sort by; null keeps the order of the rows. texts: what the filter searches besides the path
function makeCards(parent, { caption, one, rows, card, texts, orders }) {
  if (current.strip_note) parent.append(element("p", { class: "note", id: "strip-note" }, current.strip_note));
  const cards = element("ol", { class: "cards" }), status = element("p", { class: "note", role: "status" });
  const state = { text: "", sort: Object.keys(orders)[0], limit: FIRST_CARDS };
  const more = element("button", { type: "button", onclick: () => {
    const before = cards.children.length;
    state.limit = rows.length;
    show();
    cards.children[before].focus(); // the button is hidden now, so the focus moves to the first new card
  } });
  const show = () => {
    const wanted = state.text.trim().toLowerCase(), key = orders[state.sort];
    const kept = rows.filter((row) => [current.paths[row], ...texts(row)].join("\n").toLowerCase().includes(wanted));
    if (key) kept.sort((a, b) => compareValues(key(a), key(b)));
    cards.replaceChildren(...kept.slice(0, state.limit).map(card));
    more.hidden = kept.length <= state.limit;
    more.textContent = `Show all ${kept.length}`;
    status.textContent = `${kept.length} of ${counted(rows.length, one)}` + (more.hidden ? "" : `, the first ${state.limit} are shown`);
  };
  parent.append(element("div", { class: "controls" },
    labelled(`Filter: ${caption}`, element("input", { type: "search", oninput: (event) => { state.text = event.target.value; show(); } })),
    choice("Sort by", Object.keys(orders).map((name) => [name, name]), (value) => { state.sort = value; show(); })), status, cards, more);
  show();
}

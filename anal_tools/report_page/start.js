"use strict";
// Draws the sections that SECTIONS lists.

function drawNotes() {
  const area = section("notes");
  let list = null;
  for (const line of DATA.notes) {
    if (line.startsWith("#")) {
      area.append(element("h3", {}, line.replace(/^#+\s*/, "")));
      list = null;
      continue;
    }
    if (!list) area.append(list = element("ul", {}));
    list.append(element("li", { dir: "auto" }, line));
  }
}

function drawAll(wanted) {
  for (const [id, , draw] of SECTIONS) if (wanted(id)) draw();
}

function start() {
  const list = document.getElementById("sections"), main = document.getElementById("main");
  for (const [id, title] of SECTIONS) {
    main.append(element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title`, tabindex: "-1" }, title)));
    list.append(element("li", {}, element("a", { href: `#${id}` }, title)));
  }
  const select = document.getElementById("experiment");
  DATA.experiments.forEach((one, index) => select.append(element("option", { value: index }, one.name)));
  document.getElementById("choose").hidden = DATA.experiments.length < 2;
  select.addEventListener("change", () => { current = DATA.experiments[Number(select.value)]; drawAll((id) => !OF_ALL.includes(id)); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll((id) => CHARTED.includes(id)));
  drawAll(() => true);
  document.body.dataset.ready = "true";
}

start();

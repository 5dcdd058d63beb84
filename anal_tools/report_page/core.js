"use strict";
// Shared by all parts of the page: the data, the experiment on show, and ways to make elements.
// Text reaches the page through textContent only, so a class whose name is HTML is just a strange name.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CLASSES = DATA.classes;
// a colour of style.css, as it is in the light or dark of now
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const lineColour = (position) => colour(`line-${1 + (position % 8)}`);
for (const one of DATA.experiments) one.paths = one.paths ?? DATA.experiments[0].paths;

let current = DATA.experiments[0];
const onChange = []; // what to draw again when another experiment is chosen

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function section(id) {
  const node = document.getElementById(id);
  while (node.children.length > 1) node.lastChild.remove(); // the heading stays
  return node;
}

// a name in its own direction, so that right-to-left names do not turn their surroundings around
const named = (text) => element("bdi", {}, text);
const className = (index) => (index < 0 ? "(no label)" : CLASSES[index]);
const percent = (value, digits = 2) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} %`);
const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const compareValues = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));

function classButton(index, onclick, title) {
  return element("button", { class: "link", type: "button", title, onclick }, named(className(index)));
}

// items: [class, score in percent, what to add to the score], the truth is what has something added
function scoreList(items) {
  return element("ol", { class: "scores" }, ...items.map(([index, score, note]) => {
    const item = element("li", { class: note ? "truth" : "" }, element("span", {}, named(className(index))),
      element("span", {}, percent(score) + (note ? ` (${note})` : "")));
    item.style.setProperty("--share", `${score}%`);
    return item;
  }));
}

function tile(name, value, more) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value), element("dd", { class: "more" }, more));
}

// an interval with its middle on a bar of 0 to 100
function intervalBar(middle, low, high) {
  if (middle === null) return element("span", { class: "note" }, "no video");
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, element("i"), element("b"));
  bar.children[0].style.left = `${low}%`;
  bar.children[0].style.width = `${high - low}%`;
  bar.children[1].style.left = `calc(${middle}% - 1px)`;
  return bar;
}

function strip(experiment, row) {
  const picture = experiment.strips[row];
  if (!picture) return element("p", { class: "nothing" }, "no frames");
  return element("img", { class: "strip", src: picture, alt: `Frames of ${experiment.paths[row]} from begin to end`, decoding: "async" });
}

// a control under its label; apart, so that what the control holds is no part of its name
let controls = 0;
function labelled(text, control) {
  control.id = control.id || `control-${++controls}`;
  return element("div", { class: "field" }, element("label", { for: control.id }, text), control);
}

function choice(label, options, onchange) {
  const list = element("select", { onchange: () => onchange(list.value) });
  for (const [value, text] of options) list.append(element("option", { value }, text));
  return labelled(label, list);
}

function goToVideos() {
  const title = document.getElementById("videos-title");
  title.scrollIntoView();
  title.focus({ preventScroll: true });
}

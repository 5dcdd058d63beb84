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
const predictedOf = (experiment, row) => experiment.top[row * experiment.k];
const scoreOf = (experiment, row, rank = 0) => (100 * experiment.score[row * experiment.k + rank]) / DATA.unit;
const isRight = (experiment, row) => experiment.truth[row] === predictedOf(experiment, row);

function classButton(index, onclick, title) {
  return element("button", { class: "link", type: "button", title, onclick }, named(className(index)));
}

function topScores(experiment, row) {
  const list = element("ol", { class: "scores" });
  for (let rank = 0; rank < experiment.k; rank++) {
    const index = experiment.top[row * experiment.k + rank];
    const mark = index === experiment.truth[row] ? "truth" : "";
    const item = element("li", { class: mark }, element("span", {}, named(className(index))),
      element("span", {}, percent(scoreOf(experiment, row, rank)) + (mark ? " (truth)" : "")));
    item.style.setProperty("--share", `${scoreOf(experiment, row, rank)}%`);
    list.append(item);
  }
  return list;
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

// the experiment's counts (K x K, flat, rows are the truth), counted from its videos
function countMatrix(experiment) {
  if (experiment.counts) return experiment.counts;
  const size = CLASSES.length, counts = new Int32Array(size * size);
  experiment.truth.forEach((truth, row) => {
    if (truth >= 0) counts[truth * size + predictedOf(experiment, row)] += 1;
  });
  experiment.counts = counts;
  return counts;
}

"use strict";
// Shared by all parts of the page: the data, the experiment that is shown, and functions that make elements.
// Text is set through textContent only, so a class name that looks like HTML is shown as it is.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CLASSES = DATA.classes;
const FIVE_TELL = CLASSES.length > 5; // the five best of fewer classes are all of them, so that numbers about them say nothing
// a colour of style.css in the current light or dark mode
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

// a name with its own text direction, so that a right-to-left name does not affect its surroundings
const named = (text) => element("bdi", {}, text);
const className = (index) => (index < 0 ? "(no label)" : CLASSES[index]);
const percent = (value, digits = 2) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} %`);
const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const compareValues = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));

function classButton(index, onclick, title) {
  return element("button", { class: "link", type: "button", title, onclick }, named(className(index)));
}

// items: [class, score in percent, note behind the score]; the items with a note are the true classes
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

// draws an interval and its middle on a bar from 0 to 100
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
  const image = element("img", { class: "strip", src: picture, alt: `Frames of ${experiment.paths[row]} from beginning to end`, decoding: "async" });
  const frames = experiment.strip_frames[row];
  if (!(frames > 1)) return image;
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    while (button.children.length > 1) button.lastChild.remove();
  };
  const play = () => {
    if (timer !== null) return;
    const scale = image.clientHeight / image.naturalHeight, width = (image.naturalWidth - DATA.strip_gap * (frames - 1)) / frames;
    const view = element("span", { class: "moving", "aria-hidden": "true" });
    Object.assign(view.style, { width: `${width * scale}px`, height: `${image.clientHeight}px`, backgroundImage: `url(${picture})`, backgroundSize: `${image.clientWidth}px 100%` });
    let place = 0;
    const show = () => { view.style.backgroundPositionX = `${-(place++ % frames) * (width + DATA.strip_gap) * scale}px`; };
    show();
    timer = setInterval(show, 200);
    button.append(element("span", { class: "behind", "aria-hidden": "true" }), view);
  };
  const button = element("button", { class: "play", type: "button", title: "Play the frames", onclick: () => (timer === null ? play() : stop()), onblur: stop,
    onpointerleave: stop, onpointerenter: (event) => { if (event.pointerType === "mouse" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play(); } }, image);
  return button;
}

// a control with a separate label, so that the value of the control is not part of its name
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

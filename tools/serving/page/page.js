"use strict";
// Sends one video, reads the lines of the answer as they come and draws them. The file's name stays in the browser.
// Text reaches the page through textContent only, so a class whose name is HTML is just a strange name.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLORS = 8; // --line-1 to --line-8 of the style sheet
const MOST_SPANS = 500;
const by = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// plotly reads some HTML in texts; class names must not be read that way
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
let running = null; // the AbortController of the video on its way
let shown = null; // name and answer that are shown
let address = ""; // URL of the video in the player

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const named = (text) => element("bdi", {}, text);

function clock(seconds) {
  const whole = Math.floor(seconds), minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  const two = (number) => String(number).padStart(2, "0");
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}.${Math.floor((seconds % 1) * 10)}`;
}

function fail(message) {
  by("error").textContent = message;
  by("error").hidden = false;
  by("status").textContent = "";
}

function busy(state) {
  by("stop").hidden = by("progress").hidden = !state;
  by("form").setAttribute("aria-busy", String(state));
}

function seek(seconds) {
  if (!by("video").hidden) by("video").currentTime = seconds;
}

async function look(file) {
  running?.abort();
  by("error").hidden = by("answer").hidden = true;
  by("video").hidden = true;
  if (!file) return fail("Choose a video first.");
  if (file.size === 0) return fail("The file is empty.");
  if (file.size > DATA.limit) return fail(`The video is larger than ${DATA.megabytes} MB.`);
  const mine = (running = new AbortController());
  busy(true);
  by("progress").removeAttribute("value");
  by("status").textContent = "Sending the video …";
  try {
    const asked = new URLSearchParams();
    for (const name of ["window", "step"]) if (by(name).value) asked.set(name, by(name).value);
    const response = await fetch(`/predict${asked.size ? `?${asked}` : ""}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal: mine.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error);
    let ended = false;
    for await (const event of lines(response)) ended = follow(event, file) || ended;
    if (!ended) throw new Error("the connection ended before the answer");
  } catch (error) {
    if (mine.signal.aborted) by("status").textContent = running === mine ? "Stopped." : by("status").textContent;
    else fail(`${file.name}: ${error.message}`);
  } finally {
    if (running === mine) busy(false);
  }
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function follow(event, file) {
  if (event.event === "waiting") {
    by("status").textContent = `Waiting: ${event.ahead} ${event.ahead === 1 ? "video is" : "videos are"} before this one.`;
  } else if (event.event === "progress") {
    by("progress").value = Math.min(1, event.seconds / event.of);
    by("status").textContent = "Looking at the video …";
  } else if (event.event === "error") {
    throw new Error(event.error);
  } else {
    show(event, file);
    return true;
  }
  return false;
}

function show(answer, file) {
  shown = { name: file.name, answer };
  by("status").textContent = "Done.";
  by("summary").replaceChildren(named(file.name), `: ${answer.seconds.toFixed(1)} s; ${answer.basis}.`);
  by("warnings").replaceChildren(...answer.warnings.map((text) => element("li", {}, `Warning: ${text}`)));
  by("top").replaceChildren(...answer.top.map((one) =>
    element("tr", {}, element("td", {}, named(one.name)), element("td", { class: "number" }, one.score.toFixed(3)), element("td", { class: "share" }, bar(one.score)))));
  const spans = merged(answer.windows);
  by("spans").replaceChildren(...spans.slice(0, MOST_SPANS).map(([start, end, name]) =>
    element("tr", {},
      element("td", {}, element("button", { type: "button", class: "link", onclick: () => seek(start), "aria-label": `Show ${clock(start)}` }, clock(start))),
      element("td", { class: "number" }, clock(end)), element("td", {}, named(name)))));
  by("more").textContent = spans.length > MOST_SPANS ? `The first ${MOST_SPANS} of ${spans.length}; the files have all.` : "";
  by("answer").hidden = false;
  draw(answer);
  play(file);
  by("top-title").focus();
}

function bar(score) {
  const node = element("i", { "aria-hidden": "true" }); // the number stands beside it
  node.style.setProperty("--share", `${100 * score}%`);
  return node;
}

// consecutive windows with the same best class are one row; each row ends where the next begins
function merged({ start, end, best }) {
  const spans = [];
  best.forEach((name, index) => {
    const last = spans.at(-1);
    if (last?.[2] === name) last[1] = end[index];
    else {
      if (last) last[1] = start[index];
      spans.push([start[index], end[index], name]);
    }
  });
  return spans;
}

function draw({ windows, lines: classes }) {
  const middle = windows.start.map((start, index) => (start + windows.end[index]) / 2);
  const traces = classes.map((one, index) => ({
    x: middle, y: one.scores, name: plain(one.name), type: "scatter", mode: middle.length < 60 ? "lines+markers" : "lines",
    line: { color: color(`line-${1 + (index % COLORS)}`), dash: ["solid", "dash", "dot", "dashdot"][index % 4], width: 2 },
  }));
  const font = { family: "system-ui, sans-serif", color: color("ink"), size: 12 }, gridcolor = color("line");
  Plotly.newPlot(by("chart"), traces, {
    font, paper_bgcolor: color("page"), plot_bgcolor: color("page"), height: 320 + 20 * Math.ceil(traces.length / 2), margin: { l: 50, r: 15, t: 15, b: 40 }, showlegend: true,
    legend: { orientation: "h", y: -0.24, yanchor: "top", x: 0 }, hovermode: "x unified",
    hoverlabel: { bgcolor: color("wash") }, xaxis: { title: { text: "seconds" }, range: [windows.start[0], windows.end.at(-1)], gridcolor },
    yaxis: { title: { text: "score" }, range: [0, 1.02], gridcolor },
  }, { displayModeBar: false, responsive: true });
  by("chart").on("plotly_click", (event) => seek(event.points[0].x));
}

// a video that the browser cannot play is answered all the same, only not shown
function play(file) {
  const video = by("video");
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  video.onloadeddata = () => { video.hidden = false; };
  video.src = address;
}

function save(name, type, text) {
  const place = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: place, download: name }).click();
  URL.revokeObjectURL(place);
}

function asCsv({ windows, lines: classes }) {
  // an apostrophe keeps a name that begins like a formula from being computed by a spreadsheet
  const text = (value) => (isNaN(value) ? value.replace(/(^|;)(?=[=+@\uff1d\uff0b\uff0d\uff20-])/g, "$1'") : String(value));
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${text(value).replaceAll('"', '""')}"` : text(value));
  const rows = [["start", "end", "best", ...classes.map((one) => one.name)]];
  windows.start.forEach((start, index) =>
    rows.push([start, windows.end[index], windows.best[index], ...classes.map((one) => one.scores[index])]));
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (shown && !by("answer").hidden) draw(shown.answer); });
by("form").addEventListener("submit", (event) => { event.preventDefault(); look(by("file").files[0]); });
by("file").addEventListener("change", () => { if (by("file").files[0]) look(by("file").files[0]); });
by("stop").addEventListener("click", () => running?.abort());
by("json").addEventListener("click", () => save("answer.json", "application/json", JSON.stringify({ file: shown.name, ...shown.answer }, null, 1)));
by("csv").addEventListener("click", () => save("answer.csv", "text/csv", asCsv(shown.answer)));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); by("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) by("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length > 1) fail("One video at a time, please.");
  else if (files.length) { by("file").files = files; look(files[0]); }
});

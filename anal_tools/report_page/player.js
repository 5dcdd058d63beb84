"use strict";
// A video, the segments that were found in it, a lane for each class, and a table of them that jumps to each.

const SECTIONS = [["player", "Video", drawPlayer], ["segments", "Segments", drawSegmentTable]];
const OF_ALL = [];
const CHARTED = [];
const NEAR = 1, FAR = 10; // seconds of an arrow key, and with shift
const state = { video: 0, time: 0, media: null, marks: [] };

const shown = () => DATA.videos[state.video];
const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

function seek(time) {
  state.time = Math.min(Math.max(time, 0), shown().seconds);
  if (state.media) state.media.currentTime = state.time;
  showTime();
}

function showTime() {
  const { seconds } = shown();
  document.getElementById("now").textContent = `${clock(state.time)} of ${clock(seconds)}`;
  for (const mark of document.querySelectorAll("#player .playhead")) mark.style.left = `${(100 * state.time) / seconds}%`;
  const inside = shown().segments.filter(([start, end]) => start <= state.time && state.time < end);
  document.getElementById("inside").replaceChildren(...inside.map(([, , label, score]) => element("li", {}, named(CLASSES[label]), ` ${score.toFixed(2)}`)));
}

function drawPlayer() {
  const area = section("player");
  if (DATA.videos.length > 1) {
    const list = choice("Video shown", current.paths.map((path, index) => [index, path]), (value) => { Object.assign(state, { video: Number(value), time: 0 }); drawAll(() => true); });
    list.querySelector("select").value = state.video;
    area.append(element("div", { class: "controls" }, list));
  }
  const { source, segments, seconds } = shown(), problem = element("p", { class: "note", role: "status" });
  state.media = null;
  if (source) {
    const media = element("video", { src: source, controls: true, preload: "metadata", tabindex: "0", "aria-label": current.paths[state.video] });
    media.addEventListener("timeupdate", () => { state.time = media.currentTime; showTime(); });
    media.addEventListener("error", () => {
      state.media = null;
      media.hidden = true;
      problem.textContent = `This browser cannot play ${decodeURI(source)}, or it is not there any more. The lanes and the table still work.`;
    });
    state.media = media;
    area.append(media);
  } else problem.textContent = "A folder of frames, which no browser plays.";
  area.append(problem, element("p", { class: "times" }, element("output", { id: "now" }), element("ul", { id: "inside", "aria-label": "Segments at this moment" })));
  const classes = [...new Set(segments.map((segment) => segment[2]))].sort((a, b) => a - b);
  const lanes = classes.flatMap((label) => [element("div", { class: "lane-name" }, named(CLASSES[label])), ...classLanes(label)]);
  area.append(segments.length ? element("div", { class: "lanes" }, ...lanes) : element("p", {}, "No segment was found in this video."),
    element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "0:00"), element("span", {}, clock(seconds / 2)), element("span", {}, clock(seconds))),
    element("p", { class: "note" }, `Arrow keys move by ${NEAR} s, with Shift by ${FAR} s; the space bar plays and pauses. A click into a lane goes there, a click on a segment to its start. The line is the score of the class over time, from 0 to 1.`));
  showTime();
}

// the score of a class over time, and below it its segments, each row with a mark of the moment
function classLanes(label) {
  const { segments, curves, seconds } = shown(), points = (curves[label] ?? []).map(([time, score]) => `${(100 * time) / seconds},${100 * (1 - score)}`).join(" ");
  const goes = (event, lane) => { const box = lane.getBoundingClientRect(); seek((seconds * (event.clientX - box.left)) / box.width); };
  const lane = (name, ...inner) => {
    const node = element("div", { class: `lane ${name}`, "aria-hidden": "true", onclick: (event) => goes(event, node) }, ...inner, element("i", { class: "playhead" }));
    return node;
  };
  const picture = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" });
  picture.append(svg("polyline", { points, "vector-effect": "non-scaling-stroke" }));
  picture.style.stroke = `var(--line-${1 + (label % 8)})`;
  const rows = rowsOf(segments.filter((segment) => segment[2] === label)).map((row) => lane("found", ...row.map((segment) => {
    const [start, end, , score] = segment, node = block("segment", `line-${1 + (label % 8)}`);
    node.style.left = `${(100 * start) / seconds}%`;
    node.style.width = `max(2px, ${(100 * (end - start)) / seconds}%)`;
    node.title = `${CLASSES[label]}, ${clock(start)} to ${clock(end)}, score ${score.toFixed(2)}`;
    node.addEventListener("click", (event) => { event.stopPropagation(); seek(start); });
    return node;
  })));
  return [lane("curve", picture), ...rows];
}

function drawSegmentTable() {
  const area = section("segments"), rows = shown().segments;
  const number = (label, place, show) => ({ label, number: true, value: (row) => row[place], cell: (row) => show(row[place]) });
  makeTable(area, {
    caption: "Segments", file: "segments.csv", rows,
    columns: [
      { label: "Start", number: true, value: (row) => row[0], cell: (row) => element("button", { class: "link", type: "button", onclick: () => seek(row[0]) }, clock(row[0])) },
      number("End", 1, clock), { label: "Class", value: (row) => CLASSES[row[2]], cell: (row) => named(CLASSES[row[2]]) }, number("Score", 3, (score) => score.toFixed(3)),
    ],
  });
}

document.addEventListener("keydown", (event) => {
  const on = event.target.tagName;
  if (event.altKey || event.ctrlKey || event.metaKey || on === "INPUT" || on === "SELECT") return;
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (way) seek(state.time + way * (event.shiftKey ? FAR : NEAR));
  else if (event.key === " " && state.media && on !== "BUTTON") {
    if (state.media.paused) state.media.play();
    else state.media.pause();
  } else return;
  event.preventDefault();
}, true);

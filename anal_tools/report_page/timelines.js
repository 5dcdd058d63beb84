"use strict";
// Timelines of videos: what is true above, answers below it, a lane for each class.

const FIRST_TIMELINES = 12;
const STEPS = 200; // of the slider

// timelines: {video, truths: [start, end, class, score of the answer that found it, or null], answers: [start, end, class, score, kind], left_out}
// of: {classes, paths, length(video), kinds: [{name, colour, wrong}] of answers, truth: the word for a true one,
//   moment(value): a time as text, from: score at which the slider begins; undefined for no slider}
function makeTimelines(area, timelines, of) {
  const scores = timelines.flatMap((one) => one.answers.map((answer) => answer[3]));
  const lowest = Math.min(...scores), highest = Math.max(...scores);
  const state = { least: of.from === undefined ? -Infinity : Math.max(lowest, of.from ?? lowest), text: "", limit: FIRST_TIMELINES };
  const cards = element("ol", { class: "timelines" }), status = element("p", { class: "note", role: "status" }), chosen = element("output", { class: "note" });
  const more = element("button", { type: "button", onclick: () => {
    const before = cards.children.length;
    state.limit = timelines.length;
    show();
    cards.children[before].focus();
  } });
  const show = () => {
    chosen.textContent = scores.length ? state.least.toFixed(3) : "no answers";
    const kept = timelines.filter((one) => [of.paths[one.video], ...[...one.truths, ...one.answers].map((segment) => of.classes[segment[2]])].join("\n").toLowerCase().includes(state.text));
    cards.replaceChildren(...kept.slice(0, state.limit).map((one) => timelineCard(one, state.least, of)));
    more.hidden = kept.length <= state.limit;
    more.textContent = `Show all ${kept.length}`;
    status.textContent = `${kept.length} of ${counted(timelines.length, "video")}` + (more.hidden ? "" : `, the first ${state.limit} are shown`);
  };
  const filter = labelled("Filter: videos and classes", element("input", { type: "search", oninput: (event) => { state.text = event.target.value.trim().toLowerCase(); show(); } }));
  const controls = element("div", { class: "controls" }, filter);
  if (of.from !== undefined) {
    const place = highest > lowest ? (STEPS * (state.least - lowest)) / (highest - lowest) : 0;
    const slider = element("input", { type: "range", min: "0", max: STEPS, step: "any", value: place, oninput: () => {
      state.least = lowest + (Number(slider.value) / STEPS) * (highest - lowest);
      slider.setAttribute("aria-valuetext", state.least.toFixed(3));
      show();
    } });
    controls.append(labelled("Answers with a score of at least", slider), chosen);
  }
  area.append(legend(of), controls, status, cards, more);
  show();
}

function legend({ kinds, truth }) {
  const entry = (text, name, colourName) => {
    const mark = block(name, colourName);
    mark.classList.add("key");
    return element("li", {}, mark, text);
  };
  return element("ul", { class: "legend", "aria-label": "Colours" }, entry(truth, "truth"), entry("missed", "truth missed"), ...kinds.map((kind) => entry(kind.name, "answer", kind.colour)));
}

function timelineCard(one, least, { classes, paths, length, kinds, truth, moment }) {
  const answers = one.answers.filter((answer) => answer[3] >= least);
  const whole = Math.max(length(one.video), ...[...one.truths, ...answers].map((segment) => segment[1]), 0.001);
  const isFound = (segment) => segment[3] !== null && segment[3] >= least;
  const hits = one.truths.filter(isFound).length, wrong = answers.filter((answer) => kinds[answer[4]].wrong).length;
  const there = [...new Set([...one.truths, ...answers].map((segment) => segment[2]))].sort((a, b) => a - b);
  const said = ([start, end, label, score, kind]) => `${classes[label]}, ${moment(start)} to ${moment(end)}` + (kind === undefined ? "" : `, score ${score.toFixed(3)}: ${kinds[kind].name}`);
  const put = (segment, node) => {
    node.style.left = `${(100 * segment[0]) / whole}%`;
    node.style.width = `max(2px, ${(100 * (segment[1] - segment[0])) / whole}%)`;
    node.title = said(segment);
    return node;
  };
  const lane = (...nodes) => element("div", { class: "lane", "aria-hidden": "true" }, ...nodes);
  const lanes = there.flatMap((label) => [
    element("div", { class: "lane-name" }, named(classes[label])),
    ...rowsOf(one.truths.filter((segment) => segment[2] === label), true).map((row) => lane(...row.map((segment) => put(segment, block(isFound(segment) ? "truth" : "truth missed"))))),
    ...rowsOf(answers.filter((answer) => answer[2] === label)).map((row) => lane(...row.map((answer) => put(answer, block("answer", kinds[answer[4]].colour))))),
  ]);
  const list = element("ul", {}, ...one.truths.map((segment) => element("li", {}, `true: ${said(segment.slice(0, 3))}${isFound(segment) ? "" : " (missed)"}`)), ...answers.map((answer) => element("li", {}, `answer: ${said(answer)}`)));
  return element("li", { tabindex: "-1" }, element("div", { class: "path" }, named(paths[one.video])),
    element("div", {}, `${hits} of ${counted(one.truths.length, truth)} found, ${counted(wrong, "false answer")}` + (one.left_out ? `; ${one.left_out} answers with lower scores are left out` : "")),
    element("div", { class: "lanes" }, ...lanes), element("div", { class: "axis", "aria-hidden": "true" }, ...[0, whole / 2, whole].map((value) => element("span", {}, moment(value)))),
    element("details", {}, element("summary", {}, "As a list"), list));
}

function drawSegmentTimelines() {
  const area = section("segment-timelines"), { timelines, kinds, least } = SEGMENTS, found = least !== null && timelines.some((one) => one.answers.length);
  area.append(element("p", { class: "note" }, `The ${counted(timelines.length, "video")} with the most missed segments and false answers at ${MAIN}, the worst first. Above are the true segments, below them the answers (at most ${SEGMENTS.most_answers} per video). The slider starts at ${found ? `the score that is chosen for all classes together: ${RULE}` : "the lowest score, as no other could be chosen"}.`));
  makeTimelines(area, timelines, {
    classes: SEGMENTS.classes, paths: SEGMENTS.paths, length: (video) => SEGMENTS.videos[video][0], moment: clock, truth: "true segment", from: least,
    kinds: kinds.map((name, kind) => ({ name, colour: KIND_COLOURS[kind], wrong: kind > 0 })),
  });
}

function drawSegmentVideos() {
  const area = section("segment-videos"), rows = SEGMENTS.videos.map((_, row) => row), of = (row) => SEGMENTS.videos[row];
  area.append(element("p", { class: "note" }, `Answers with a score of at least ${SEGMENTS.least === null ? "–" : SEGMENTS.least.toFixed(3)}, at ${MAIN}.`));
  makeTable(area, {
    caption: "Videos", file: "videos.csv", rows, sort: 5, down: true,
    columns: [
      { label: "Video", value: (row) => SEGMENTS.paths[row] }, number("Length", (row) => of(row)[0], (row) => clock(of(row)[0])), number("True", (row) => of(row)[1]),
      number("Found", (row) => of(row)[2]), number("Missed", (row) => of(row)[1] - of(row)[2]), number("False answers", (row) => of(row)[4]),
      share("F1", (row) => (of(row)[1] + of(row)[3] ? (200 * of(row)[2]) / (of(row)[1] + of(row)[3]) : null)),
    ],
  });
}

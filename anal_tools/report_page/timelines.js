"use strict";
// Timelines of the videos with the most errors: true segments above, answers below them, a lane for each class.

const FIRST_TIMELINES = 12;
const STEPS = 200; // of the slider

function drawTimelines() {
  const area = section("timelines"), scores = DATA.timelines.flatMap((one) => one.answers.map((answer) => answer[3]));
  const lowest = Math.min(...scores), highest = Math.max(...scores), found = DATA.least !== null && scores.length > 0;
  const state = { least: found ? Math.max(lowest, DATA.least) : lowest, text: "", limit: FIRST_TIMELINES };
  const cards = element("ol", { class: "timelines" }), status = element("p", { class: "note", role: "status" }), chosen = element("output", { class: "note" });
  area.append(element("p", { class: "note" }, `The ${counted(DATA.timelines.length, "video")} with the most missed segments and false answers at ${MAIN}, the worst first. Above are the true segments, below them the answers (at most ${DATA.most_answers} per video). The slider starts at ${found ? `the score that is chosen for all classes together: ${RULE}` : "the lowest score, as no other could be chosen"}.`),
    legend());
  const more = element("button", { type: "button", onclick: () => {
    const before = cards.children.length;
    state.limit = DATA.timelines.length;
    show();
    cards.children[before].focus();
  } });
  const show = () => {
    chosen.textContent = scores.length ? state.least.toFixed(3) : "no answers";
    const kept = DATA.timelines.filter((one) => [current.paths[one.video], ...[...one.truths, ...one.answers].map((segment) => CLASSES[segment[2]])].join("\n").toLowerCase().includes(state.text));
    cards.replaceChildren(...kept.slice(0, state.limit).map((one) => timelineCard(one, state.least)));
    more.hidden = kept.length <= state.limit;
    more.textContent = `Show all ${kept.length}`;
    status.textContent = `${kept.length} of ${counted(DATA.timelines.length, "video")}` + (more.hidden ? "" : `, the first ${state.limit} are shown`);
  };
  const place = highest > lowest ? (STEPS * (state.least - lowest)) / (highest - lowest) : 0;
  const slider = element("input", { type: "range", min: "0", max: STEPS, step: "any", value: place, oninput: () => {
    state.least = lowest + (Number(slider.value) / STEPS) * (highest - lowest);
    slider.setAttribute("aria-valuetext", state.least.toFixed(3));
    show();
  } });
  area.append(element("div", { class: "controls" },
    labelled("Filter: videos and classes", element("input", { type: "search", oninput: (event) => { state.text = event.target.value.trim().toLowerCase(); show(); } })),
    labelled("Answers with a score of at least", slider), chosen), status, cards, more);
  show();
}

function legend() {
  const entry = (mark, text) => element("li", {}, mark, text);
  const answer = (kind) => { const mark = block("answer", KIND_COLOURS[kind]); mark.classList.add("key"); return entry(mark, DATA.kinds[kind]); };
  const truth = (name, text) => { const mark = block(name); mark.classList.add("key"); return entry(mark, text); };
  return element("ul", { class: "legend", "aria-label": "Colours" }, truth("truth", "true segment"), truth("truth missed", "missed"), ...DATA.kinds.map((_, kind) => answer(kind)));
}

function timelineCard(one, least) {
  const answers = one.answers.filter((answer) => answer[3] >= least), [length] = DATA.videos[one.video];
  const whole = Math.max(length, ...[...one.truths, ...answers].map((segment) => segment[1]), 0.001);
  const isFound = (truth) => truth[3] !== null && truth[3] >= least;
  const hits = one.truths.filter(isFound).length, wrong = answers.filter((answer) => answer[4] !== 0).length;
  const classes = [...new Set([...one.truths, ...answers].map((segment) => segment[2]))].sort((a, b) => a - b);
  const said = ([start, end, label, score, kind]) => `${CLASSES[label]}, ${clock(start)} to ${clock(end)}` + (kind === undefined ? "" : `, score ${score.toFixed(3)}: ${DATA.kinds[kind]}`);
  const put = (segment, node) => {
    node.style.left = `${(100 * segment[0]) / whole}%`;
    node.style.width = `max(2px, ${(100 * (segment[1] - segment[0])) / whole}%)`;
    node.title = said(segment);
    return node;
  };
  const lanes = classes.flatMap((label) => [
    element("div", { class: "lane-name" }, named(CLASSES[label])),
    ...rowsOf(one.truths.filter((truth) => truth[2] === label), true).map((row) => element("div", { class: "lane", "aria-hidden": "true" }, ...row.map((truth) => put(truth, block(isFound(truth) ? "truth" : "truth missed"))))),
    ...rowsOf(answers.filter((answer) => answer[2] === label)).map((row) => element("div", { class: "lane", "aria-hidden": "true" }, ...row.map((answer) => put(answer, block("answer", KIND_COLOURS[answer[4]]))))),
  ]);
  const list = element("ul", {}, ...one.truths.map((truth) => element("li", {}, `true: ${said(truth.slice(0, 3))}${isFound(truth) ? "" : " (missed)"}`)), ...answers.map((answer) => element("li", {}, `answer: ${said(answer)}`)));
  return element("li", { tabindex: "-1" }, element("div", { class: "path" }, named(current.paths[one.video])),
    element("div", {}, `${hits} of ${counted(one.truths.length, "true segment")} found, ${counted(wrong, "false answer")}` + (one.left_out ? `; ${one.left_out} answers with lower scores are left out` : "")),
    element("div", { class: "lanes" }, ...lanes), element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "0:00"), element("span", {}, clock(whole / 2)), element("span", {}, clock(whole))),
    element("details", {}, element("summary", {}, "As a list"), list));
}

function drawSegmentVideos() {
  const area = section("videos"), rows = DATA.videos.map((_, row) => row), of = (row) => DATA.videos[row];
  area.append(element("p", { class: "note" }, `Answers with a score of at least ${DATA.least === null ? "–" : DATA.least.toFixed(3)}, at ${MAIN}.`));
  makeTable(area, {
    caption: "Videos", file: "videos.csv", rows, sort: 5, down: true,
    columns: [
      { label: "Video", value: (row) => current.paths[row] }, number("Length", (row) => of(row)[0], (row) => clock(of(row)[0])), number("True", (row) => of(row)[1]),
      number("Found", (row) => of(row)[2]), number("Missed", (row) => of(row)[1] - of(row)[2]), number("False answers", (row) => of(row)[4]),
      share("F1", (row) => (of(row)[1] + of(row)[3] ? (200 * of(row)[2]) / (of(row)[1] + of(row)[3]) : null)),
    ],
  });
}

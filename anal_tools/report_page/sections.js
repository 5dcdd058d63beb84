"use strict";
// The sections made of tables and cards, and the order in which the page is built.

function drawSummary() {
  const area = section("summary");
  drawTiles(area);
  const value = (name, digits) => ({ number: true, value: (one) => one.summary[name], cell: (one) => percent(one.summary[name], digits) });
  const k = Math.min(5, CLASSES.length);
  makeTable(area, {
    caption: "Experiments", file: "experiments.csv", filter: false, rows: DATA.experiments,
    columns: [
      { label: "Experiment", value: (one) => one.name },
      { label: "Videos", number: true, value: (one) => one.summary.videos },
      { label: "Right", number: true, value: (one) => one.summary.correct },
      { label: "Top-1", ...value("top1") },
      { label: "95 % interval", mark: () => "range", value: (one) => `${one.summary.low.toFixed(2)}\u00a0–\u00a0${one.summary.high.toFixed(2)}\u00a0%` },
      ...(k > 1 ? [{ label: `Top-${k}`, ...value("top5") }] : []),
      { label: "Mean class accuracy", ...value("mean_class") },
      { label: "Calibration error", number: true, value: (one) => one.calibration.ece, cell: (one) => (one.calibration.ece === null ? "–" : one.calibration.ece.toFixed(2)) },
      { label: "Protocol", value: (one) => one.protocol || "not recorded" },
    ],
  });
  for (const one of DATA.experiments) {
    const { seen, unlabelled } = one.summary;
    const notes = [];
    if (seen < CLASSES.length) notes.push(`${counted(CLASSES.length - seen, "class", "classes")} of ${CLASSES.length} without a video, left out of the mean class accuracy`);
    if (unlabelled) notes.push(`${counted(unlabelled, "video")} without a label, left out of all numbers`);
    if (notes.length) area.append(element("p", { class: "note" }, named(one.name), `: ${notes.join("; ")}.`));
  }
}

// the numbers of the experiment on show, to be seen from across the room
function drawTiles(area) {
  const { summary, calibration } = current, k = Math.min(5, CLASSES.length);
  const tile = (name, value, more) => element("div", {}, element("dt", {}, name), element("dd", {}, value), element("dd", { class: "more" }, more));
  area.append(element("dl", { class: "tiles" },
    tile("Top-1", percent(summary.top1), `95 % interval ${summary.low.toFixed(1)} – ${summary.high.toFixed(1)} %`),
    ...(k > 1 && summary.top5 !== null ? [tile(`Top-${k}`, percent(summary.top5), "the truth among the best")] : []),
    tile("Mean class accuracy", percent(summary.mean_class), `over ${counted(summary.seen, "class", "classes")}`),
    tile("Videos", summary.videos.toLocaleString("en"), `${summary.correct.toLocaleString("en")} right, ${(summary.videos - summary.correct).toLocaleString("en")} wrong`),
    tile("Calibration error", calibration.ece === null ? "–" : calibration.ece.toFixed(2), "percent points, expected")));
}

function drawConfig() {
  const area = section("config");
  area.append(element("p", {}, "Folder ", named(current.folder), ". Protocol: ", current.protocol || "not recorded", "."));
  if (current.config_problem) area.append(element("p", { class: "wrong" }, `The config cannot be shown: ${current.config_problem}`));
  if (!current.config.length) return;
  const details = element("details", {}, element("summary", {}, `All ${current.config.length} values in force`));
  area.append(details);
  makeTable(details, {
    caption: "Config", file: "config.csv", rows: current.config, size: 200,
    columns: [
      { label: "Key", value: (row) => row[0] },
      { label: "Value", value: (row) => row[1], mark: (row) => (row[2] ? "set" : "") },
      { label: "From", value: (row) => (row[2] ? "config.yaml" : "default") },
    ],
  });
}

function drawPairs() {
  const area = section("pairs");
  if (!current.pairs.length) {
    area.append(element("p", {}, "No video was answered wrongly."));
    return;
  }
  area.append(element("p", { class: "note" }, "Who is taken for whom, all confusions, the most frequent first."));
  makeTable(area, {
    caption: "Confused pairs", file: "confused_pairs.csv", rows: current.pairs, sort: 2, down: true, size: 25,
    columns: [
      { label: "Truth", value: ([truth]) => CLASSES[truth], cell: ([truth]) => named(CLASSES[truth]) },
      { label: "Predicted", value: ([, answer]) => CLASSES[answer], cell: ([, answer]) => named(CLASSES[answer]) },
      { label: "Videos", number: true, value: (row) => row[2], cell: ([truth, answer, count]) =>
        element("button", { class: "link", type: "button", "aria-label": `Show the ${count} videos of ${CLASSES[truth]} answered ${CLASSES[answer]}`, onclick: () => showVideos({ truth, answer }) }, String(count)) },
      { label: "Of the class", number: true, value: ([truth, , count]) => (100 * count) / current.per_class[truth][0], cell: ([truth, , count]) => percent((100 * count) / current.per_class[truth][0], 1) },
      { label: "Of all errors", number: true, value: (row) => row[3], cell: (row) => percent(row[3], 1) },
    ],
  });
}

function drawClasses() {
  const area = section("classes"), stats = current.per_class;
  area.append(element("p", { class: "note" }, "Accuracy is the share of a class's videos that are right, with its 95 % Wilson interval; precision is the share of the answers with this class that are right."));
  const share = (column) => ({ number: true, value: (index) => stats[index][column], cell: (index) => percent(stats[index][column], 1) });
  makeTable(area, {
    caption: "Classes", file: "per_class.csv", rows: CLASSES.map((_, index) => index), sort: 0, size: 50,
    columns: [
      { label: "Index", number: true, value: (index) => index },
      { label: "Class", value: (index) => CLASSES[index], cell: (index) => classButton(index, () => showVideos({ truth: index }), "Show its videos") },
      { label: "Videos", number: true, value: (index) => stats[index][0] },
      { label: "Right", number: true, value: (index) => stats[index][1] },
      { label: "Accuracy", ...share(3) },
      { label: "Low", ...share(4) },
      { label: "High", ...share(5) },
      { label: "Interval", value: (index) => stats[index][3], cell: (index) => intervalBar(stats[index]) },
      { label: "Predicted", number: true, value: (index) => stats[index][2] },
      { label: "Precision", ...share(6) },
    ],
  });
}

function intervalBar([videos, , , accuracy, low, high]) {
  if (!videos) return element("span", { class: "note" }, "no video");
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, element("i"), element("b"));
  bar.children[0].style.left = `${low}%`;
  bar.children[0].style.width = `${high - low}%`;
  bar.children[1].style.left = `calc(${accuracy}% - 1px)`;
  return bar;
}

const FIRST_CARDS = 24;

function drawErrors() {
  const area = section("errors"), rows = current.errors;
  if (!rows.length) {
    area.append(element("p", {}, "No video was answered wrongly."));
    return;
  }
  area.append(element("p", { class: "note" }, `The ${counted(rows.length, "wrong answer")} with the highest score, the surest first.`));
  if (current.strip_note) area.append(element("p", { class: "note", id: "strip-note" }, current.strip_note));
  const cards = element("ol", { class: "cards" }), status = element("p", { class: "note", role: "status" });
  const state = { text: "", sort: "score", limit: FIRST_CARDS };
  const more = element("button", { type: "button", onclick: () => {
    const before = cards.children.length;
    state.limit = rows.length;
    show();
    cards.children[before].focus(); // the button is gone; go on where it was
  } });
  const show = () => {
    const keys = { score: () => 0, truth: (row) => CLASSES[current.truth[row]], answer: (row) => CLASSES[predictedOf(current, row)] };
    const names = (row) => [current.paths[row], CLASSES[current.truth[row]], CLASSES[predictedOf(current, row)]].join("\n").toLowerCase();
    const kept = rows.filter((row) => names(row).includes(state.text.trim().toLowerCase()));
    kept.sort((a, b) => String(keys[state.sort](a)).localeCompare(String(keys[state.sort](b))));
    cards.replaceChildren(...kept.slice(0, state.limit).map(errorCard));
    more.hidden = kept.length <= state.limit;
    more.textContent = `Show all ${kept.length}`;
    status.textContent = `${kept.length} of ${counted(rows.length, "error")}` + (more.hidden ? "" : `, the first ${state.limit} shown`);
  };
  area.append(element("div", { class: "controls" },
    labelled("Filter: top errors", element("input", { type: "search", oninput: (event) => { state.text = event.target.value; show(); } })),
    choice("Sort by", [["score", "score"], ["truth", "truth"], ["answer", "predicted class"]], (value) => { state.sort = value; show(); })), status, cards, more);
  show();
}

function errorCard(row) {
  return element("li", { tabindex: "-1" }, strip(current, row),
    element("div", {}, "truth ", element("strong", {}, named(className(current.truth[row]))), ", answered ", element("strong", { class: "wrong" }, named(className(predictedOf(current, row))))),
    element("div", { class: "path" }, named(current.paths[row])), topScores(current, row));
}

const chosen = { truth: "", answer: "", outcome: "all" };
let videoTable = null;

function drawVideos() {
  const area = section("videos");
  const classes = [["", "any"], ...CLASSES.map((name, index) => [index, name])];
  const pick = (name) => (value) => { chosen[name] = value; filterVideos(); };
  area.append(element("div", { class: "controls", id: "video-choices" },
    choice("Truth", classes, pick("truth")), choice("Predicted", classes, pick("answer")),
    choice("Answer", [["all", "right or wrong"], ["right", "right"], ["wrong", "wrong"], ["none", "without label"]], pick("outcome"))));
  Object.assign(chosen, { truth: "", answer: "", outcome: "all" });
  videoTable = makeTable(area, {
    caption: "Videos", file: "videos.csv", size: 25, rows: current.truth.map((_, row) => row),
    columns: [
      { label: "Video", value: (row) => current.paths[row], cell: (row) => (current.strips[row] ? element("div", {}, named(current.paths[row]), strip(current, row)) : named(current.paths[row])) },
      { label: "Truth", value: (row) => className(current.truth[row]) },
      { label: "Predicted", value: (row) => className(predictedOf(current, row)), mark: (row) => (current.truth[row] < 0 ? "" : isRight(current, row) ? "right" : "wrong") },
      { label: "Answer", value: (row) => (current.truth[row] < 0 ? "no label" : isRight(current, row) ? "right" : "wrong") },
      { label: "Score", number: true, value: (row) => scoreOf(current, row), cell: (row) => percent(scoreOf(current, row)) },
      { label: `Best ${current.k}`, value: (row) => { // named once more for the filter and the CSV
        const parts = [];
        for (let rank = 0; rank < current.k; rank++) parts.push(`${CLASSES[current.top[row * current.k + rank]]} ${scoreOf(current, row, rank).toFixed(2)}`);
        return parts.join("; ");
      }, cell: (row) => topScores(current, row) },
    ],
  });
}

function filterVideos() {
  const outcome = { all: () => true, right: (row) => current.truth[row] >= 0 && isRight(current, row), wrong: (row) => current.truth[row] >= 0 && !isRight(current, row), none: (row) => current.truth[row] < 0 };
  const rows = current.truth.map((_, row) => row).filter((row) => (chosen.truth === "" || current.truth[row] === Number(chosen.truth)) &&
    (chosen.answer === "" || predictedOf(current, row) === Number(chosen.answer)) && outcome[chosen.outcome](row));
  videoTable.setRows(rows);
}

// goes to the videos of one class or one cell of the matrix
function showVideos({ truth = "", answer = "" }) {
  Object.assign(chosen, { truth: String(truth), answer: String(answer), outcome: "all" });
  const [first, second, third] = document.querySelectorAll("#video-choices select");
  [first.value, second.value, third.value] = [chosen.truth, chosen.answer, chosen.outcome];
  filterVideos();
  const title = document.getElementById("videos-title");
  title.scrollIntoView();
  title.focus({ preventScroll: true });
}

function drawAll() {
  for (const draw of onChange) draw();
}

function start() {
  const list = document.getElementById("sections");
  if (DATA.comparisons.length) document.getElementById("comparison").hidden = false;
  for (const node of document.querySelectorAll("main > section:not([hidden])")) {
    list.append(element("li", {}, element("a", { href: `#${node.id}` }, node.querySelector("h2").textContent)));
  }
  const select = document.getElementById("experiment");
  DATA.experiments.forEach((one, index) => select.append(element("option", { value: index }, one.name)));
  document.getElementById("choose").hidden = DATA.experiments.length < 2;
  select.addEventListener("change", () => { current = DATA.experiments[Number(select.value)]; drawAll(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawCurves(); drawMatrix(); drawCalibration(); });
  drawComparisons();
  drawCurves();
  onChange.push(drawSummary, drawConfig, drawMatrix, drawPairs, drawClasses, drawErrors, drawCalibration, drawVideos);
  drawAll();
  document.body.dataset.ready = "true";
}

start();

"use strict";
// The sections of a single-label report, except the confusion matrix, which is in matrix.js.

const predictedOf = (experiment, row) => experiment.top[row * experiment.k];
const scoreOf = (experiment, row, rank = 0) => (100 * experiment.score[row * experiment.k + rank]) / DATA.unit;
const isRight = (experiment, row) => experiment.truth[row] === predictedOf(experiment, row);

function topScores(experiment, row) {
  return scoreList(Array.from({ length: experiment.k }, (_, rank) => {
    const index = experiment.top[row * experiment.k + rank];
    return [index, scoreOf(experiment, row, rank), index === experiment.truth[row] ? "truth" : ""];
  }));
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

function drawSummary() {
  const area = section("summary");
  drawTiles(area);
  const value = (name, digits) => ({ number: true, value: (one) => one.summary[name], cell: (one) => percent(one.summary[name], digits) });
  makeTable(area, {
    caption: "Experiments", file: "experiments.csv", filter: false, rows: DATA.experiments,
    columns: [
      { label: "Experiment", value: (one) => one.name },
      { label: "Videos", number: true, value: (one) => one.summary.videos },
      { label: "Right", number: true, value: (one) => one.summary.correct },
      { label: "Top-1", ...value("top1") },
      { label: "95 % interval", mark: () => "range", value: (one) => `${one.summary.low.toFixed(2)}\u00a0–\u00a0${one.summary.high.toFixed(2)}\u00a0%` },
      ...(FIVE_TELL ? [{ label: "Top-5", ...value("top5") }] : []),
      { label: "Mean class accuracy", ...value("mean_class") },
      { label: "Calibration error", number: true, value: (one) => one.calibration.ece, cell: (one) => (one.calibration.ece === null ? "–" : one.calibration.ece.toFixed(2)) },
      { label: "Protocol", value: (one) => one.protocol || "not recorded" },
    ],
  });
  drawLeftOut(area, "the mean class accuracy");
  drawRun(area);
}

// draws the main numbers of the experiment in large type
function drawTiles(area) {
  const { summary, calibration } = current;
  area.append(element("dl", { class: "tiles" },
    tile("Top-1", percent(summary.top1), `95 % interval ${summary.low.toFixed(1)}\u00a0–\u00a0${summary.high.toFixed(1)}\u00a0%`),
    ...(FIVE_TELL && summary.top5 !== null ? [tile("Top-5", percent(summary.top5), "the true class is among the best")] : []),
    tile("Mean class accuracy", percent(summary.mean_class), `over ${counted(summary.seen, "class", "classes")}`),
    tile("Videos", summary.videos.toLocaleString("en"), `${summary.correct.toLocaleString("en")} right, ${(summary.videos - summary.correct).toLocaleString("en")} wrong`),
    tile("Calibration error", calibration.ece === null ? "–" : calibration.ece.toFixed(2), "percentage points, expected")));
}

function drawPairs() {
  const area = section("pairs");
  if (!current.pairs.length) {
    area.append(element("p", {}, "No video was predicted wrongly."));
    return;
  }
  area.append(element("p", { class: "note" }, "All confusions of two classes, the most frequent first."));
  makeTable(area, {
    caption: "Confused pairs", file: "confused_pairs.csv", rows: current.pairs, sort: 2, down: true, size: 25,
    columns: [
      { label: "Truth", value: ([truth]) => CLASSES[truth], cell: ([truth]) => named(CLASSES[truth]) },
      { label: "Predicted", value: ([, answer]) => CLASSES[answer], cell: ([, answer]) => named(CLASSES[answer]) },
      { label: "Videos", number: true, value: (row) => row[2], cell: ([truth, answer, count]) =>
        element("button", { class: "link", type: "button", "aria-label": `Show the ${count} videos of ${CLASSES[truth]} predicted as ${CLASSES[answer]}`, onclick: () => showVideos({ truth, answer }) }, String(count)) },
      { label: "Of the class", number: true, value: ([truth, , count]) => (100 * count) / current.per_class[truth][0], cell: ([truth, , count]) => percent((100 * count) / current.per_class[truth][0], 1) },
      { label: "Of all errors", number: true, value: (row) => row[3], cell: (row) => percent(row[3], 1) },
    ],
  });
}

function drawClasses() {
  const area = section("classes"), stats = current.per_class;
  area.append(element("p", { class: "note" }, "Accuracy is the share of the videos of a class that are predicted right, with its 95 % Wilson interval. Precision is the share of the predictions of a class that are right."));
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
      { label: "Interval", value: (index) => stats[index][3], cell: (index) => intervalBar(...stats[index].slice(3, 6)) },
      { label: "Predicted", number: true, value: (index) => stats[index][2] },
      { label: "Precision", ...share(6) },
    ],
  });
}

function drawErrors() {
  const area = section("errors"), rows = current.errors;
  if (!rows.length) {
    area.append(element("p", {}, "No video was predicted wrongly."));
    return;
  }
  area.append(element("p", { class: "note" }, `The ${counted(rows.length, "wrong prediction")} with the highest score, the highest first.`));
  const truth = (row) => CLASSES[current.truth[row]], answer = (row) => CLASSES[predictedOf(current, row)];
  makeCards(area, {
    caption: "top errors", one: "error", rows, card: answerCard, texts: (row) => [truth(row), answer(row)],
    orders: { score: null, truth, "predicted class": answer },
  });
}

function drawRight() {
  const area = section("right"), rows = current.right;
  if (!rows.length) {
    area.append(element("p", {}, "No video was predicted rightly."));
    return;
  }
  area.append(element("p", { class: "note" }, "Of each class, the right prediction with the lowest score and the one with the highest; the lowest come first."));
  const truth = (row) => CLASSES[current.truth[row]];
  makeCards(area, {
    caption: "right answers", one: "right answer", rows, card: answerCard, texts: (row) => [truth(row)],
    orders: { score: null, truth },
  });
}

function answerCard(row) {
  const answer = className(predictedOf(current, row));
  const words = isRight(current, row) ? ["rightly predicted ", element("strong", { class: "right" }, named(answer))]
    : ["truth ", element("strong", {}, named(className(current.truth[row]))), ", predicted ", element("strong", { class: "wrong" }, named(answer))];
  return element("li", { tabindex: "-1" }, strip(current, row), element("div", {}, ...words),
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
    choice("Result", [["all", "right or wrong"], ["right", "right"], ["wrong", "wrong"], ["none", "no label"]], pick("outcome"))));
  Object.assign(chosen, { truth: "", answer: "", outcome: "all" });
  videoTable = makeTable(area, {
    caption: "Videos", file: "videos.csv", size: 25, rows: current.truth.map((_, row) => row),
    columns: [
      { label: "Video", value: (row) => current.paths[row], cell: (row) => (current.strips[row] ? element("div", {}, named(current.paths[row]), strip(current, row)) : named(current.paths[row])) },
      { label: "Truth", value: (row) => className(current.truth[row]) },
      { label: "Predicted", value: (row) => className(predictedOf(current, row)), mark: (row) => (current.truth[row] < 0 ? "" : isRight(current, row) ? "right" : "wrong") },
      { label: "Result", value: (row) => (current.truth[row] < 0 ? "no label" : isRight(current, row) ? "right" : "wrong") },
      { label: "Score", number: true, value: (row) => scoreOf(current, row), cell: (row) => percent(scoreOf(current, row)) },
      { label: `Best ${current.k}`, value: (row) => { // as text, for the filter and the CSV
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
  goToVideos();
}

"use strict";
// The sections of a multi-label report.

const scorePercent = (units) => (100 * units) / DATA.unit;
// [class, score in units] of the true classes of a video and its (at most 20) best classes, the best first
const listedOf = (row) => Array.from({ length: current.listed[row].length / 2 }, (_, place) => current.listed[row].slice(2 * place, 2 * place + 2));
const isPredicted = (units) => units >= DATA.threshold * DATA.unit;
const shownBy = (row, index) => current.truth[row] !== null && current.truth[row].includes(index);
const classNames = (classes) => classes.map((index) => CLASSES[index]).join("; ");
const truthText = (row) => (current.truth[row] === null ? "(no label)" : classNames(current.truth[row]) || "(none)");
// each name in its own direction
const namedClasses = (classes, none = "(none)") => element("span", {}, ...(classes.length ? classes.flatMap((index, place) => [place ? "; " : "", named(CLASSES[index])]) : [none]));
const truthCell = (row) => namedClasses(current.truth[row] ?? [], truthText(row));
const predictedClasses = (row) => listedOf(row).filter(([, units]) => isPredicted(units)).map(([index]) => index);
const missedOf = (row) => listedOf(row).filter(([index, units]) => !isPredicted(units) && shownBy(row, index));
const falseOf = (row) => (current.truth[row] === null ? [] : listedOf(row).filter(([index, units]) => isPredicted(units) && !shownBy(row, index)));
const THRESHOLD = `${Math.round(100 * DATA.threshold)} %`;

function drawSetSummary() {
  const area = section("summary"), { summary, calibration } = current;
  const points = (value) => (value === null ? "–" : value.toFixed(2));
  const range = ({ low, high }) => (low === null ? "–" : `${low.toFixed(2)}\u00a0–\u00a0${high.toFixed(2)}\u00a0%`);
  area.append(element("dl", { class: "tiles" },
    tile("mAP", percent(summary.mAP), summary.low === null ? "" : `95 % interval ${summary.low.toFixed(1)}\u00a0– ${summary.high.toFixed(1)}\u00a0%`),
    tile("Hit@1", percent(summary.hit1), "the best class is right"),
    tile("Precision", percent(summary.precision), `of predictions with a score of at least ${THRESHOLD}`),
    tile("Recall", percent(summary.recall), `of ${counted(summary.labels, "label")}, with a score of at least ${THRESHOLD}`),
    tile("Videos", summary.videos.toLocaleString("en"), `${(summary.labels / summary.videos).toFixed(2)} classes each, ${summary.none.toLocaleString("en")} without a class`),
    tile("Calibration error", points(calibration.ece), "percentage points, expected")));
  const value = (label, name) => share(label, (one) => one.summary[name], 2);
  makeTable(area, {
    caption: "Experiments", file: "experiments.csv", filter: false, rows: DATA.experiments,
    columns: [
      { label: "Experiment", value: (one) => one.name },
      number("Videos", (one) => one.summary.videos), number("Labels", (one) => one.summary.labels),
      value("mAP", "mAP"), { label: "95 % interval", mark: () => "range", value: (one) => range(one.summary) },
      value("Hit@1", "hit1"), ...(FIVE_TELL ? [value("Hit@5", "hit5")] : []),
      value("Precision", "precision"), value("Recall", "recall"), value("Exactly right", "exact"),
      number("Calibration error", (one) => one.calibration.ece, (one) => points(one.calibration.ece)),
      { label: "Protocol", value: (one) => one.protocol || "not recorded" },
    ],
  });
  area.append(element("p", { class: "note" }, `mAP is the mean average precision of the classes that at least one video shows; its interval is a bootstrap over the videos. A class counts as predicted if its score is at least ${THRESHOLD}. Precision and recall are those of all predictions together. A video is exactly right if the predicted classes are the true ones.`));
  drawLeftOut(area, "mAP");
  drawRun(area);
}

function drawPrecisions() {
  const area = section("classes"), stats = current.per_class, { thresholds, predicted, right } = current.answers;
  let place = thresholds.indexOf(DATA.threshold);
  const over = (part, whole) => (whole ? (100 * part) / whole : null);
  const precision = (index) => over(right[index][place], predicted[index][place]);
  const recall = (index) => over(right[index][place], stats[index][0]);
  const f1 = (index) => over(2 * right[index][place], predicted[index][place] + stats[index][0]);
  area.append(element("p", { class: "note" }, "Average precision (AP) ranks the videos by their score for one class. Its 95 % interval treats it as a share of the positives (Wilson). Chance is the AP of random scores. Precision, recall and their harmonic mean F1 are those of the predictions with at least the chosen score."));
  const chosen = element("output", { class: "note" });
  const slider = element("input", { type: "range", min: "0", max: thresholds.length - 1, value: place, oninput: () => { place = Number(slider.value); show(); } });
  area.append(element("div", { class: "controls" }, labelled("A class counts as predicted from a score of", slider), chosen));
  const rows = CLASSES.map((_, index) => index);
  const table = makeTable(area, {
    caption: "Classes", file: "per_class.csv", rows, sort: 0, size: 50,
    columns: [
      number("Index", (index) => index),
      { label: "Class", value: (index) => CLASSES[index], cell: (index) => classButton(index, () => showSets({ shown: index }), "Show the videos that show it") },
      number("Positives", (index) => stats[index][0]),
      share("AP", (index) => stats[index][1]), share("Low", (index) => stats[index][2]), share("High", (index) => stats[index][3]),
      { label: "Interval", value: (index) => stats[index][1], cell: (index) => intervalBar(...stats[index].slice(1, 4)) },
      share("Chance", (index) => stats[index][4]),
      number("Predicted", (index) => predicted[index][place]), share("Precision", precision), share("Recall", recall), share("F1", f1),
    ],
  });
  const show = () => {
    chosen.textContent = `${Math.round(100 * thresholds[place])} %`;
    slider.setAttribute("aria-valuetext", chosen.textContent);
    table.setRows(rows);
  };
  show();
}

function drawAnswers() {
  const area = section("answers"), { thresholds, predicted, right } = current.answers, { labels } = current.summary;
  const all = (counts) => thresholds.map((_, place) => counts.reduce((sum, one) => sum + one[place], 0));
  const total = all(predicted), hits = all(right);
  const over = (part, whole) => (whole ? (100 * part) / whole : null);
  const lines = {
    precision: hits.map((count, place) => over(count, total[place])), recall: hits.map((count) => over(count, labels)),
    F1: hits.map((count, place) => over(2 * count, total[place] + labels)),
  };
  area.append(element("p", { class: "note" }, "Precision and recall of all classes together, for each score from which a class may count as predicted."));
  const grid = element("div", { class: "charts" }), dashes = ["solid", "dash", "dot"];
  area.append(grid);
  const x = thresholds.map((one) => 100 * one), scale = { xaxis: { range: [0, 100] }, yaxis: { range: [0, 103] } };
  draw(grid, "Precision, recall and F1 by the score from which a class counts as predicted", Object.entries(lines).map(([name, y], line) => (
    { x, y, name, mode: "lines+markers", line: { color: lineColour(line), dash: dashes[line], width: 2 }, marker: { size: 5 } })), layoutOf("By threshold", "predicted from a score of %", "%", scale));
  draw(grid, "Precision against recall", [{ x: lines.recall, y: lines.precision, mode: "lines+markers", line: { color: lineColour(0) }, text: x.map((one) => `from ${one.toFixed(0)} %`) }],
    layoutOf("Precision against recall", "recall %", "precision %", { ...scale, xaxis: { range: [0, 103] } }));
  const details = element("details", {}, element("summary", {}, "Precision and recall in numbers"));
  area.append(details);
  makeTable(details, {
    caption: "Thresholds", file: "thresholds.csv", filter: false, rows: thresholds.map((_, place) => place),
    columns: [
      number("From a score of %", (place) => x[place], (place) => x[place].toFixed(0)), number("Predictions", (place) => total[place]), number("Right", (place) => hits[place]),
      ...Object.entries(lines).map(([name, values]) => share(name[0].toUpperCase() + name.slice(1), (place) => values[place])),
    ],
  });
}

function drawWorst() {
  const area = section("errors"), rows = current.errors;
  if (!rows.length) {
    area.append(element("p", {}, `No class was wrongly predicted or missed at ${THRESHOLD}.`));
    return;
  }
  area.append(element("p", { class: "note" }, `The ${counted(rows.length, "video")} with the most confident wrong answers: a high score for a class that is not shown, or a low score for a class that is. Often the label is wrong.`));
  makeCards(area, {
    caption: "worst videos", one: "video", rows, card: worstCard, texts: (row) => [...missedOf(row), ...falseOf(row)].map(([index]) => CLASSES[index]),
    orders: { "most confident error": null, "number of wrong answers": (row) => -current.wrong[row], video: (row) => current.paths[row] },
  });
}

function worstCard(row) {
  const missed = missedOf(row), seen = falseOf(row), left = current.wrong[row] - missed.length - seen.length;
  const group = (title, items) => (items.length ? element("div", { class: "group" }, title, scoreList(items.map(([index, units]) => [index, scorePercent(units)]))) : null);
  return element("li", { tabindex: "-1" }, strip(current, row), element("div", { class: "path" }, named(current.paths[row])),
    element("div", {}, "shows ", element("strong", {}, truthCell(row))),
    group("missed", missed), group("wrongly predicted", seen), left > 0 ? element("p", { class: "note" }, `and ${left} more`) : null);
}

function drawTogether() {
  const area = section("together");
  const name = (label, place) => ({ label, value: (row) => CLASSES[row[place]], cell: (row) => named(CLASSES[row[place]]) });
  const link = (label, place, title, filter) => number(label, (row) => row[place], (row) => (row[place]
    ? element("button", { class: "link", type: "button", "aria-label": `Show the ${counted(row[place], "video")} ${title(row)}`, onclick: () => showSets(filter(row)) }, String(row[place])) : 0));
  area.append(element("p", { class: "note" }, `Which classes are wrongly predicted for videos that show another class. The factor compares this with videos that show neither class: if it is far above 1, the network takes the one as a sign of the other. Both tables have at most 1,000 pairs, the most frequent ones.`));
  if (!current.false_with.length) area.append(element("p", {}, `No class was wrongly predicted for a video that shows another one, at ${THRESHOLD}.`));
  else makeTable(area, {
    caption: "Wrongly predicted together with a shown class", file: "wrongly_predicted_with.csv", rows: current.false_with, sort: 2, down: true, size: 15,
    columns: [
      name("Shown", 0), name("Predicted, not shown", 1),
      link("Videos", 2, ([one, other]) => `that show ${CLASSES[one]} and have ${CLASSES[other]} predicted`, ([one, other]) => ({ shown: one, predicted: other, outcome: "false" })),
      share("Of those that show it", (row) => row[3]), number("Factor", (row) => row[4], (row) => (row[4] === null ? "–" : row[4].toFixed(2))),
    ],
  });
  if (current.together.length) makeTable(area, {
    caption: "Shown or predicted together", file: "together.csv", rows: current.together, sort: 2, down: true, size: 15,
    columns: [
      name("Class", 0), name("And", 1), number("Videos that show both", (row) => row[2]), number("Both predicted", (row) => row[3]), number("Both right", (row) => row[4]),
      share("Found together", (row) => (row[2] ? (100 * row[4]) / row[2] : null)),
    ],
  });
}

function drawSetCalibration() {
  const area = section("calibration"), found = current.calibration;
  area.append(
    element("p", {}, `All classes together: ${calibrationText(found)}`),
    element("p", { class: "note" }, "Every class of every video is one answer. Answers are divided into 15 bins by their score. In a calibrated model, the share of answers in a bin whose class is really shown equals the mean score of the bin."));
  const charts = element("div"), words = { share: "Shown", what: "answers" };
  const show = (value) => {
    charts.replaceChildren();
    drawReliability(charts, value === "" ? found : found.classes[Number(value)], words);
  };
  area.append(element("div", { class: "controls" }, choice("Charts of", [["", "all classes together"], ...CLASSES.map((name, index) => [index, name])], show)), charts);
  show("");
  const mean = (index, values) => found.classes[index].videos.reduce((sum, count, bin) => sum + (count ? count * values[bin] : 0), 0) / current.summary.videos;
  const details = element("details", {}, element("summary", {}, "Calibration of every class"));
  area.append(details);
  makeTable(details, {
    caption: "Calibration of classes", file: "calibration_per_class.csv", rows: CLASSES.map((_, index) => index), size: 50,
    columns: [
      { label: "Class", value: (index) => CLASSES[index] },
      share("Mean score", (index) => mean(index, found.classes[index].score), 2), share("Shown by", (index) => (100 * current.per_class[index][0]) / current.summary.videos, 2),
      number("Calibration error", (index) => found.classes[index].ece, (index) => found.classes[index].ece?.toFixed(2) ?? "–"),
      number("Largest gap", (index) => found.classes[index].worst, (index) => found.classes[index].worst?.toFixed(2) ?? "–"),
    ],
  });
}

const wanted = { shown: "", predicted: "", outcome: "all" };
// name -> [text, test of a video for the chosen classes (null: any class)]
const OUTCOMES = {
  all: ["any", () => true],
  right: ["exactly right", (row) => current.truth[row] !== null && !current.wrong[row]],
  missed: ["missed", (row, shown) => missedOf(row).some(([index]) => shown === null || index === shown)],
  false: ["wrongly predicted", (row, shown, predicted) => falseOf(row).some(([index]) => predicted === null || index === predicted)],
  none: ["without label", (row) => current.truth[row] === null],
};
let setTable = null;

function drawSetVideos() {
  const area = section("videos"), classes = [["", "any"], ...CLASSES.map((name, index) => [index, name])];
  const pick = (name) => (value) => { wanted[name] = value; filterSets(); };
  Object.assign(wanted, { shown: "", predicted: "", outcome: "all" });
  area.append(element("p", { class: "note" }, `Missed: a class that is shown has a score below ${THRESHOLD}. Wrongly predicted: a class that is not shown has a score of at least ${THRESHOLD}. If classes are chosen, only these count. The scores are those of the true classes and of the best ones.`));
  area.append(element("div", { class: "controls", id: "video-choices" },
    choice("Shows", classes, pick("shown")), choice("Predicted", classes, pick("predicted")),
    choice("Result", Object.entries(OUTCOMES).map(([name, [text]]) => [name, text]), pick("outcome"))));
  setTable = makeTable(area, {
    caption: "Videos", file: "videos.csv", size: 25, rows: current.paths.map((_, row) => row),
    columns: [
      { label: "Video", value: (row) => current.paths[row], cell: (row) => (current.strips[row] ? element("div", {}, named(current.paths[row]), strip(current, row)) : named(current.paths[row])) },
      { label: "Shows", value: truthText, cell: truthCell },
      { label: "Predicted", value: (row) => classNames(predictedClasses(row)) || "(none)", cell: (row) => namedClasses(predictedClasses(row)), mark: (row) => (current.truth[row] === null ? "" : current.wrong[row] ? "wrong" : "right") },
      number("Wrong answers", (row) => (current.truth[row] === null ? null : current.wrong[row])),
      { label: "Scores", value: (row) => listedOf(row).map(([index, units]) => `${CLASSES[index]} ${scorePercent(units).toFixed(2)}`).join("; "),
        cell: (row) => scoreList(listedOf(row).map(([index, units]) => [index, scorePercent(units), shownBy(row, index) ? "shown" : ""])) },
    ],
  });
}

function filterSets() {
  const [shown, predicted] = [wanted.shown, wanted.predicted].map((text) => (text === "" ? null : Number(text)));
  setTable.setRows(current.paths.map((_, row) => row).filter((row) => (shown === null || shownBy(row, shown)) &&
    (predicted === null || predictedClasses(row).includes(predicted)) && OUTCOMES[wanted.outcome][1](row, shown, predicted)));
}

// goes to the videos that show one class, or have another one predicted
function showSets({ shown = "", predicted = "", outcome = "all" }) {
  Object.assign(wanted, { shown: String(shown), predicted: String(predicted), outcome });
  const lists = document.querySelectorAll("#video-choices select");
  [wanted.shown, wanted.predicted, wanted.outcome].forEach((value, place) => { lists[place].value = value; });
  filterSets();
  goToVideos();
}

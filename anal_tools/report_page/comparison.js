"use strict";
// Compares each further experiment with the first one.

function drawComparisons() {
  if (!DATA.comparisons.length) return;
  const area = section("comparison");
  for (const one of DATA.comparisons) {
    const first = DATA.experiments[one.first], second = DATA.experiments[one.second];
    area.append(element("h3", {}, named(second.name), " against ", named(first.name)));
    if (DATA.multi_label) drawPrecisionChange(area, one);
    else drawTest(area, one);
    if (one.unpaired) area.append(element("p", { class: "note" }, `${counted(one.unpaired, "video")} ${one.unpaired === 1 ? "is" : "are"} not compared, because only one list has ${one.unpaired === 1 ? "it" : "them"}, a label is missing, or the labels differ.`));
    if (!DATA.multi_label) drawFourfold(area, one, first, second);
    drawDifferences(area, one, first, second);
    if (DATA.multi_label) drawClassChanges(area, one, first, second);
    else drawFlips(area, one, first, second);
  }
}

const signed = (value) => `${value > 0 ? "+" : ""}${value.toFixed(2)}`;

// frames are embedded only if one of the two experiments is very wrong
function flippedVideo(first, row, second, other) {
  const shown = first.strips[row] ? [first, row] : second.strips[other] ? [second, other] : null;
  return element("div", {}, named(first.paths[row]), shown ? strip(...shown) : null);
}

function drawTest(area, one) {
  const tiny = (value) => (value < 0.0001 ? value.toExponential(1) : value.toFixed(4));
  area.append(
    element("p", {}, `On the ${counted(one.videos, "video")} that both scored: `, element("strong", {}, `${signed(one.difference)} points`),
      ` of top-1 (95 % interval ${one.low.toFixed(2)} to ${one.high.toFixed(2)}). McNemar's exact test: p = ${tiny(one.exact_p)}, mid-p = ${tiny(one.mid_p)}; ${one.verdict}.`));
}

function drawFourfold(area, one, first, second) {
  const cell = (value) => element("td", { class: "number" }, value.toLocaleString("en"));
  const head = (...content) => element("th", { scope: "col", class: "number" }, ...content);
  const side = (...content) => element("th", { scope: "row" }, ...content);
  area.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Right and wrong in both" }, element("table", {},
    element("caption", {}, "Number of videos that each experiment has right or wrong"),
    element("thead", {}, element("tr", {}, element("td"), head(named(second.name), " right"), head(named(second.name), " wrong"))),
    element("tbody", {},
      element("tr", {}, side(named(first.name), " right"), cell(one.both), cell(one.only_first)),
      element("tr", {}, side(named(first.name), " wrong"), cell(one.only_second), cell(one.neither))))));
}

function drawDifferences(area, one, first, second) {
  if (one.config === null) {
    area.append(element("p", { class: "note" }, "Their configs cannot be compared: one of them is missing or does not load."));
    return;
  }
  if (!one.config.length) {
    area.append(element("p", {}, "Their configs have the same values."));
    return;
  }
  makeTable(area, {
    caption: "Differences between the configs", file: "config_differences.csv", filter: false, rows: one.config,
    columns: [{ label: "Key", value: (row) => row[0] }, { label: first.name, value: (row) => row[1] }, { label: second.name, value: (row) => row[2] }],
  });
}

function drawFlips(area, one, first, second) {
  const flips = [...one.fixed.map((rows) => ["fixed", ...rows]), ...one.broken.map((rows) => ["broken", ...rows])];
  if (!flips.length) {
    area.append(element("p", {}, "No video changed between right and wrong."));
    return;
  }
  makeTable(area, {
    caption: `Changed videos: ${one.fixed.length} fixed, ${one.broken.length} broken`, file: "flipped.csv", rows: flips, size: 10,
    columns: [
      { label: "Change", value: ([change]) => change, mark: ([change]) => (change === "fixed" ? "right" : "wrong") },
      { label: "Video", value: ([, row]) => first.paths[row], cell: ([, row, other]) => flippedVideo(first, row, second, other) },
      { label: "Truth", value: ([, row]) => className(first.truth[row]) },
      { label: `Predicted by ${first.name}`, value: ([, row]) => className(predictedOf(first, row)) },
      { label: "Score", number: true, value: ([, row]) => scoreOf(first, row), cell: ([, row]) => percent(scoreOf(first, row)) },
      { label: `Predicted by ${second.name}`, value: ([, , row]) => className(predictedOf(second, row)) },
      { label: "Score", number: true, value: ([, , row]) => scoreOf(second, row), cell: ([, , row]) => percent(scoreOf(second, row)) },
    ],
  });
}

function drawPrecisionChange(area, one) {
  const verdict = one.mean_low > 0 || one.mean_high < 0 ? "with other videos, the sign would rarely change" : "with other videos, the sign could well change";
  area.append(element("p", {}, `On the ${counted(one.videos, "video")} that both scored: `, element("strong", {}, `${signed(one.mean)} points`),
    ` of mAP (95 % interval ${signed(one.mean_low)} to ${signed(one.mean_high)}, bootstrap over the videos): ${verdict}.`));
}

function drawClassChanges(area, one, first, second) {
  const change = (index) => (one.before[index] === null ? null : one.after[index] - one.before[index]);
  const points = (value) => (value === null ? "–" : signed(value));
  const column = (label, value, cell) => ({ label, number: true, value, cell: (row) => cell(value(row)) });
  makeTable(area, {
    caption: "Average precision per class", file: "ap_differences.csv", rows: CLASSES.map((_, index) => index), sort: 4, down: true, size: 15,
    columns: [
      { label: "Class", value: (index) => CLASSES[index] }, { label: "Positives", number: true, value: (index) => one.shown[index] },
      column(`AP of ${first.name}`, (index) => one.before[index], (value) => percent(value, 1)), column(`AP of ${second.name}`, (index) => one.after[index], (value) => percent(value, 1)),
      { ...column("Points", change, points), mark: (index) => (one.low[index] > 0 ? "right" : one.high[index] < 0 ? "wrong" : "") },
      column("Low", (index) => one.low[index], points), column("High", (index) => one.high[index], points),
    ],
  });
  if (!one.flips.length) {
    area.append(element("p", {}, "No answer changed between right and wrong."));
    return;
  }
  const fixed = ([row, , index, score]) => first.truth[row].includes(index) !== score >= DATA.threshold;
  const score = (place) => ({ number: true, value: (row) => 100 * row[place], cell: (row) => percent(100 * row[place]) });
  area.append(element("p", { class: "note" }, `These are the ${one.flips.length} answers with the largest change of score, among those that changed between right and wrong at ${Math.round(100 * DATA.threshold)} %.`));
  makeTable(area, {
    caption: `Changed answers: ${one.fixed.toLocaleString("en")} fixed, ${one.broken.toLocaleString("en")} broken`, file: "flipped.csv", rows: one.flips, size: 10,
    columns: [
      { label: "Change", value: (row) => (fixed(row) ? "fixed" : "broken"), mark: (row) => (fixed(row) ? "right" : "wrong") },
      { label: "Video", value: ([row]) => first.paths[row], cell: ([row, other]) => flippedVideo(first, row, second, other) },
      { label: "Class", value: (row) => CLASSES[row[2]] }, { label: "Shown", value: ([row, , index]) => (first.truth[row].includes(index) ? "yes" : "no") },
      { label: `Score of ${first.name}`, ...score(3) }, { label: `Score of ${second.name}`, ...score(4) },
    ],
  });
}

"use strict";
// Several experiments: each of them against the first.

function drawComparisons() {
  if (!DATA.comparisons.length) return;
  const area = section("comparison");
  for (const one of DATA.comparisons) {
    const first = DATA.experiments[one.first], second = DATA.experiments[one.second];
    area.append(element("h3", {}, named(second.name), " against ", named(first.name)));
    drawTest(area, one, first, second);
    drawDifferences(area, one, first, second);
    drawFlips(area, one, first, second);
  }
}

function drawTest(area, one, first, second) {
  const sign = one.difference > 0 ? "+" : "";
  const tiny = (value) => (value < 0.0001 ? value.toExponential(1) : value.toFixed(4));
  const verdict = one.exact_p < 0.05 ? "luck alone would hardly do this (p below 0.05)" : "this can well be luck (p is not below 0.05)";
  area.append(
    element("p", {}, `On ${counted(one.videos, "video")} scored by both: `, element("strong", {}, `${sign}${one.difference.toFixed(2)} points`),
      ` of top-1 (95 % interval ${one.low.toFixed(2)} to ${one.high.toFixed(2)}). McNemar's exact test: p = ${tiny(one.exact_p)}, mid-p = ${tiny(one.mid_p)}; ${verdict}.`));
  if (one.unpaired) area.append(element("p", { class: "note" }, `${counted(one.unpaired, "video")} of one list only, or with another truth, ${one.unpaired === 1 ? "is" : "are"} not compared.`));
  const cell = (value) => element("td", { class: "number" }, value.toLocaleString("en"));
  const head = (...content) => element("th", { scope: "col", class: "number" }, ...content);
  const side = (...content) => element("th", { scope: "row" }, ...content);
  area.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Right and wrong in both" }, element("table", {},
    element("caption", {}, "Videos by who has them right"),
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
    area.append(element("p", {}, "Their configs set the same values."));
    return;
  }
  makeTable(area, {
    caption: "What their configs set differently", file: "config_differences.csv", filter: false, rows: one.config,
    columns: [{ label: "Key", value: (row) => row[0] }, { label: first.name, value: (row) => row[1] }, { label: second.name, value: (row) => row[2] }],
  });
}

function drawFlips(area, one, first, second) {
  const flips = [...one.fixed.map((rows) => ["fixed", ...rows]), ...one.broken.map((rows) => ["broken", ...rows])];
  if (!flips.length) {
    area.append(element("p", {}, "No video flipped between right and wrong."));
    return;
  }
  makeTable(area, {
    caption: `Flipped videos: ${one.fixed.length} fixed, ${one.broken.length} broken`, file: "flipped.csv", rows: flips, size: 10,
    columns: [
      { label: "Change", value: ([change]) => change, mark: ([change]) => (change === "fixed" ? "right" : "wrong") },
      { label: "Video", value: ([, row]) => first.paths[row], cell: ([, row, other]) => {
        const shown = first.strips[row] ? [first, row] : second.strips[other] ? [second, other] : null;
        return element("div", {}, named(first.paths[row]), shown ? strip(...shown) : null);
      } },
      { label: "Truth", value: ([, row]) => className(first.truth[row]) },
      { label: `Answer of ${first.name}`, value: ([, row]) => className(predictedOf(first, row)) },
      { label: "Score", number: true, value: ([, row]) => scoreOf(first, row), cell: ([, row]) => percent(scoreOf(first, row)) },
      { label: `Answer of ${second.name}`, value: ([, , row]) => className(predictedOf(second, row)) },
      { label: "Score", number: true, value: ([, , row]) => scoreOf(second, row), cell: ([, , row]) => percent(scoreOf(second, row)) },
    ],
  });
}

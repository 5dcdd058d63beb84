"use strict";
// Lists the sections in their order, and draws them.

// id, title, function that draws it
const SECTIONS = [
  ...(DATA.notes.length ? [["notes", "Notes", drawNotes]] : []),
  ["summary", "Summary", DATA.multi_label ? drawSetSummary : drawSummary],
  ...(DATA.comparisons.length ? [["comparison", "Comparison", drawComparisons]] : []),
  ["curves", "Learning curves", drawCurves],
  ["config", "Protocol and config", drawConfig],
  ...(DATA.multi_label ? [
    ["classes", "Average precision per class", drawPrecisions],
    ["answers", "Precision and recall", drawAnswers],
    ["errors", "Worst videos", drawWorst],
    ["together", "Classes together", drawTogether],
    ["calibration", "Calibration", drawSetCalibration],
    ["videos", "Videos", drawSetVideos],
  ] : [
    ["matrix", "Confusion matrix", drawMatrix],
    ["pairs", "Most confused pairs", drawPairs],
    ["classes", "Accuracy per class", drawClasses],
    ["errors", "Top errors", drawErrors],
    ["right", "Right answers", drawRight],
    ["calibration", "Calibration", drawCalibration],
    ["videos", "Videos", drawVideos],
  ]),
];
const OF_ALL = ["notes", "comparison", "curves"]; // these show all experiments at once
const CHARTED = ["curves", "matrix", "answers", "calibration"]; // the charts of these depend on light or dark mode

function drawNotes() {
  const area = section("notes");
  let list = null;
  for (const line of DATA.notes) {
    if (line.startsWith("#")) {
      area.append(element("h3", {}, line.replace(/^#+\s*/, "")));
      list = null;
      continue;
    }
    if (!list) area.append(list = element("ul", {}));
    list.append(element("li", { dir: "auto" }, line));
  }
}

function drawAll(wanted) {
  for (const [id, , draw] of SECTIONS) if (wanted(id)) draw();
}

function start() {
  const list = document.getElementById("sections"), main = document.getElementById("main");
  for (const [id, title] of SECTIONS) {
    main.append(element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title`, tabindex: "-1" }, title)));
    list.append(element("li", {}, element("a", { href: `#${id}` }, title)));
  }
  const select = document.getElementById("experiment");
  DATA.experiments.forEach((one, index) => select.append(element("option", { value: index }, one.name)));
  document.getElementById("choose").hidden = DATA.experiments.length < 2;
  select.addEventListener("change", () => { current = DATA.experiments[Number(select.value)]; drawAll((id) => !OF_ALL.includes(id)); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll((id) => CHARTED.includes(id)));
  drawAll(() => true);
  document.body.dataset.ready = "true";
}

start();

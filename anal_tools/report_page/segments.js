"use strict";
// The sections about answers with times that show numbers; timelines.js draws those that show videos.

const SEGMENTS = DATA.segments; // absent where no answers were given
const MAIN = SEGMENTS ? `tIoU ${SEGMENTS.overlaps[SEGMENTS.main]}` : "";
const RULE = !SEGMENTS || SEGMENTS.precision === null ? "the one with the best F1" : `the lowest one from which at least ${SEGMENTS.precision} % of the answers are right`;
const KIND_COLOURS = ["good", "line-6", "line-4", "line-1", "line-2", "line-5"]; // of SEGMENTS.kinds, in style.css
const KIND_TEXTS = [
  "has found a true segment",
  "of the right class, but a better answer has found this segment",
  "overlaps a segment of another class enough",
  "of the right class, but overlaps too little",
  "overlaps a segment of another class, and too little",
  "overlaps no segment by 0.1 or more",
];
const SEGMENT_SECTIONS = SEGMENTS ? [
  ["segment-summary", "Summary", drawSegmentSummary],
  ["segment-timelines", "Timelines", drawSegmentTimelines],
  ["segment-kinds", "False answers by kind", drawKinds],
  ["segment-borders", "Borders", drawBorders],
  ["segment-recall", "Precision and recall", drawCurve],
  ["segment-classes", "Classes", drawSegmentClasses],
  ["segment-videos", "Videos", drawSegmentVideos],
] : [];
const SEGMENT_CHARTS = ["segment-kinds", "segment-borders", "segment-recall"]; // these depend on light or dark mode
const ROWS = SEGMENTS ? SEGMENTS.classes.map((_, index) => index) : [];
const seconds = (value, digits = 2) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} s`);
const range = ([, low, high]) => (low === null ? "" : `${low.toFixed(1)}\u00a0–\u00a0${high.toFixed(1)}\u00a0%`);

function drawSegmentSummary() {
  const area = section("segment-summary"), { numbers } = SEGMENTS;
  if (SEGMENTS.notes.length) area.append(element("ul", {}, ...SEGMENTS.notes.map((line) => element("li", { dir: "auto" }, line))));
  const tiles = [["mAP, mean over tIoU", "Mean mAP"], [`mAP@${SEGMENTS.overlaps[SEGMENTS.main]}`], ["point mAP, mean of 1 to 10 s", "Point mAP"], ["AR@100"], ["F1@50"], ["edit score", "Edit score"]];
  area.append(element("dl", { class: "tiles" },
    ...tiles.filter(([name]) => numbers[name]).map(([name, title]) => tile(title ?? name, percent(numbers[name][0], 1), numbers[name][1] === null ? "" : `95 % interval ${range(numbers[name])}`)),
    tile("True segments", SEGMENTS.counts.truths.toLocaleString("en"), `in ${counted(SEGMENTS.videos.length, "video")}`),
    tile("Answers", SEGMENTS.counts.answers.toLocaleString("en"), "with any score")));
  makeTable(area, {
    caption: "Scores", file: "scores.csv", filter: false, rows: Object.entries(numbers),
    columns: [{ label: "Score", value: ([name]) => name }, share("Value", ([, value]) => value[0], 2), { label: "95 % interval", mark: () => "range", value: ([, value]) => range(value) }],
  });
  area.append(element("p", { class: "note" }, "mAP@t counts an answer as right if its intersection over union with a true segment of its class is at least t and no better answer has found that segment. Point mAP looks at starts only. AR@n is the recall of n answers per video without their classes. Intervals are a bootstrap over the videos."));
}

function drawKinds() {
  const area = section("segment-kinds"), { counts, profile, gains } = SEGMENTS.errors, kinds = SEGMENTS.kinds.map((_, index) => index);
  area.append(element("p", { class: "note" }, `Why answers are false, as DETAD (Alwassel et al. 2018) tells them apart. G is the number of true segments of a class: the bar 1G has the best G answers of each class, 2G the next G. The gain is how many points mAP rises if all false answers of a kind are left out.`));
  const grid = element("div", { class: "charts" }), groups = profile.map((_, group) => `${group + 1}G`);
  area.append(grid);
  draw(grid, "Kinds of answers, from the best ones to the tenth G", kinds.map((kind) => ({
    x: groups, y: profile.map((row) => row[kind]), name: SEGMENTS.kinds[kind], type: "bar", marker: { color: colour(KIND_COLOURS[kind]) },
  })), layoutOf("Answers by rank", "", "answers, mean over tIoU", { layout: { barmode: "stack" } }));
  draw(grid, "Gain of mAP without the false answers of each kind", [{
    x: kinds.slice(1).map((kind) => gains[kind]), y: kinds.slice(1).map((kind) => SEGMENTS.kinds[kind]), type: "bar", orientation: "h", marker: { color: kinds.slice(1).map((kind) => colour(KIND_COLOURS[kind])) },
  }], layoutOf("Gain of mAP", "points of mAP", "", { yaxis: { autorange: "reversed" } }));
  makeTable(area, {
    caption: "Kinds of answers", file: "kinds.csv", filter: false, rows: kinds,
    columns: [
      { label: "Kind", value: (kind) => SEGMENTS.kinds[kind] }, number(`Answers at ${MAIN}`, (kind) => counts[SEGMENTS.main][kind]),
      share("Share", (kind) => (SEGMENTS.counts.answers ? (100 * counts[SEGMENTS.main][kind]) / SEGMENTS.counts.answers : null)),
      number("Gain of mAP", (kind) => gains[kind], (kind) => (kind ? gains[kind].toFixed(2) : "–")), { label: "Meaning", value: (kind) => KIND_TEXTS[kind] },
    ],
  });
}

function drawBorders() {
  const area = section("segment-borders"), { start, end, close } = SEGMENTS.borders;
  if (!start.length) {
    area.append(element("p", {}, `No answer has found a true segment at ${MAIN}.`));
    return;
  }
  area.append(element("p", { class: "note" }, `By how many seconds the ${counted(start.length, "right answer")} at ${MAIN} start and end too late; too early is below 0. Constant offsets show that borders are cut at the wrong moment, wide spreads that scores are too coarse in time.`));
  const far = Math.max(...[...start, ...end].map(Math.abs)), most = Math.max(far, 0.01), size = (2 * most) / 40, grid = element("div", { class: "charts" });
  area.append(grid);
  for (const [title, values, line] of [["Starts", start, 0], ["Ends", end, 1]]) {
    draw(grid, `${title}: seconds too late`, [{ x: values, type: "histogram", autobinx: false, xbins: { start: -most, end: most + size, size }, marker: { color: lineColour(line), line: { color: colour("paper"), width: 1 } } }],
      layoutOf(title, "seconds too late", "answers", { xaxis: { range: [-most, most] } }));
  }
  const rows = ROWS.filter((row) => SEGMENTS.per_class[row].found);
  makeTable(area, {
    caption: "Borders per class", file: "borders.csv", rows, size: 20,
    columns: [
      { label: "Class", value: (row) => SEGMENTS.classes[row], cell: (row) => named(SEGMENTS.classes[row]) }, number("Found", (row) => SEGMENTS.per_class[row].found),
      ...[["Median start", "start"], ["Median end", "end"], ["Median distance", "off"]].map(([label, name]) => number(label, (row) => SEGMENTS.per_class[row][name], (row) => seconds(SEGMENTS.per_class[row][name]))),
      share(`Within ${close} s`, (row) => SEGMENTS.per_class[row].close),
    ],
  });
}

function drawCurve() {
  const area = section("segment-recall"), chart = element("div");
  area.append(element("p", { class: "note" }, `Precision against recall of the answers at ${MAIN}, from the highest score to the lowest.`));
  const show = (value) => {
    const { recall, precision, score } = SEGMENTS.curves[value === "" ? 0 : 1 + Number(value)];
    chart.replaceChildren();
    if (!recall.length) chart.append(element("p", {}, "No answer is right."));
    else draw(chart, "Precision against recall", [{ x: recall, y: precision, mode: "lines+markers", line: { color: lineColour(0) }, marker: { size: 4 }, text: score.map((one) => `score ${one.toFixed(3)}`) }],
      layoutOf("Precision against recall", "recall %", "precision %", { xaxis: { range: [0, 103] }, yaxis: { range: [0, 103] } }));
  };
  area.append(element("div", { class: "controls" }, choice("Answers of", [["", "all classes together"], ...SEGMENTS.classes.map((name, index) => [index, name])], show)), chart);
  show("");
}

function drawSegmentClasses() {
  const area = section("segment-classes"), of = (row) => SEGMENTS.per_class[row];
  area.append(element("p", { class: "note" }, `AP is the mean over all overlaps, with its 95 % bootstrap interval. The threshold is the score from which answers of the class count: ${RULE}. Precision, recall and F1 at ${MAIN} are those of these answers. It is chosen on these very answers: use it for other videos.`));
  makeTable(area, {
    caption: "Classes", file: "classes.csv", rows: ROWS, size: 50,
    columns: [
      { label: "Class", value: (row) => SEGMENTS.classes[row], cell: (row) => named(SEGMENTS.classes[row]) }, number("True", (row) => of(row).truths), number("Answers", (row) => of(row).answers),
      share("AP", (row) => of(row).ap), { label: "Interval", value: (row) => of(row).ap, cell: (row) => (of(row).ap === null ? element("span", { class: "note" }, "nothing to find") : intervalBar(of(row).ap, of(row).low, of(row).high)) },
      share(`AP at ${MAIN}`, (row) => of(row).ap_main), number("Threshold", (row) => of(row).threshold, (row) => of(row).threshold?.toFixed(3) ?? "–"),
      share("Precision", (row) => of(row).precision), share("Recall", (row) => of(row).recall), share("F1", (row) => of(row).f1),
    ],
  });
}

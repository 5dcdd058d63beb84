"use strict";
// Draws learning curves and calibration with plotly.js. A table below each chart has its numbers.

const CHART = { displayModeBar: false, responsive: true, doubleClick: "reset" };
// plotly interprets some HTML in texts, which must not happen to names of classes and folders
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const short = (text, length = 28) => (text.length <= length ? text : `${text.slice(0, length - 9)}…${text.slice(-8)}`);

function layoutOf(title, x, y, more = {}) {
  const font = { family: "system-ui, sans-serif", color: colour("ink"), size: 12 };
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true };
  return {
    title: { text: title, font: { ...font, size: 14 } }, font, margin: { l: 55, r: 15, t: 40, b: 45 },
    xaxis: { ...axis, title: { text: x, standoff: 12 }, ...more.xaxis }, yaxis: { ...axis, title: { text: y, standoff: 8 }, ...more.yaxis },
    hovermode: "closest", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("edge"), font }, ...more.layout,
  };
}

// draws a chart with its legend below it, in as much space as the legend needs
function draw(parent, label, traces, layout) {
  const area = element("div", { role: "img", "aria-label": label }), lines = traces.filter((trace) => trace.name).length;
  parent.append(area);
  const inRow = area.clientWidth < 480 ? 1 : 2, below = 20 * Math.ceil(lines / inRow);
  Plotly.newPlot(area, traces, {
    ...layout, height: 330 + below, showlegend: lines > 1,
    legend: { orientation: "h", yref: "container", y: 0.01, yanchor: "bottom", x: 0, entrywidth: 0.96 / inRow, entrywidthmode: "fraction" },
    margin: { ...layout.margin, b: 50 + below },
  }, CHART);
}

function drawCurves() {
  const area = section("curves");
  const trained = DATA.experiments.filter((one) => one.curves.train.step.length || one.curves.val.step.length);
  const broken = DATA.experiments.reduce((sum, one) => sum + one.curves.broken, 0);
  if (broken) area.append(element("p", { class: "note" }, `${counted(broken, "line")} of metrics.jsonl could not be read and ${broken === 1 ? "is" : "are"} left out.`));
  if (!trained.length) {
    area.append(element("p", {}, "There are no learning curves: the experiment folder has no metrics.jsonl, which training writes."));
    return;
  }
  if (trained.every((one) => one.curves.train.step.length < 2 && one.curves.val.step.length < 2)) {
    area.append(element("p", {}, "There are no learning curves: the training had a single step, or noted a single one."));
    return;
  }
  const grid = element("div", { class: "charts" });
  area.append(element("p", { class: "note" }, "Drag over a part of a chart to enlarge it; double-click to see the whole chart again."), grid);
  const kinds = [
    ["Loss", "loss", [["train", "loss", "training"], ["val", "loss", "validation"]]],
    DATA.multi_label
      ? ["mAP and hits", "%", [["train", "hit1", "training Hit@1"], ["val", "hit1", "validation Hit@1"], ...(FIVE_TELL ? [["val", "hit5", "validation Hit@5"]] : []), ["val", "mAP", "validation mAP"]]]
      : ["Accuracy", "%", [["train", "acc1", "training top-1"], ["val", "acc1", "validation top-1"], ...(FIVE_TELL ? [["val", "acc5", "validation top-5"]] : []), ["val", "mean_class", "validation mean class"]]],
    ["Learning rate", "learning rate", [["train", "lr", "learning rate"]]],
    ["Seconds per step", "s", [["train", "time", "whole step"], ["train", "data", "waiting for data"]]],
  ];
  const dashes = ["dot", "solid", "dash", "longdash"];
  for (const [title, unit, lines] of kinds) {
    const traces = [];
    trained.forEach((one, position) => lines.forEach(([kind, name, label], line) => {
      const series = one.curves[kind];
      if (!series[name].some((value) => value !== null)) return;
      traces.push({
        x: series.step, y: series[name], type: "scatter", mode: series.step.length < 40 ? "lines+markers" : "lines",
        name: plain(trained.length > 1 ? `${short(one.name)}: ${label}` : label),
        line: { color: lineColour(trained.length > 1 ? position : line), dash: lines.length > 1 ? dashes[line] : "solid", width: 2 }, marker: { size: 5 },
      });
    }));
    if (traces.length) draw(grid, `${title} over training steps`, traces, layoutOf(title, "step", unit));
  }
  for (const one of trained) {
    const { step, ...series } = one.curves.val;
    if (!step.length) continue;
    const details = element("details", {}, element("summary", {}, "Validations of ", named(one.name)));
    area.append(details);
    const column = (label, values) => ({ label, number: true, value: (row) => values[row], cell: (row) => values[row] ?? "–" });
    makeTable(details, {
      caption: "Validations", file: "validations.csv", filter: false, sort: 0, rows: step.map((_, row) => row),
      columns: [column("Step", step), column("Loss", series.loss), ...(DATA.multi_label
        ? [column("mAP %", series.mAP), column("Hit@1 %", series.hit1), ...(FIVE_TELL ? [column("Hit@5 %", series.hit5)] : [])]
        : [column("Top-1 %", series.acc1), ...(FIVE_TELL ? [column("Top-5 %", series.acc5)] : []), column("Mean class %", series.mean_class)])],
    });
  }
}

function drawCalibration() {
  const area = section("calibration"), found = current.calibration;
  area.append(
    element("p", {}, calibrationText(found)),
    element("p", { class: "note" }, "Videos are divided into 15 bins by the score of the predicted class. In a calibrated model, the accuracy of a bin equals its mean score."));
  drawReliability(area, found, { share: "Accuracy", what: "videos" });
}

function calibrationText(found) {
  const points = (value) => (value === null ? "–" : `${value.toFixed(2)} points`);
  return `Expected calibration error ${points(found.ece)}, largest gap ${points(found.worst)}` +
    (found.nll === null ? "" : `, negative log-likelihood ${found.nll.toFixed(4)}, Brier score ${found.brier.toFixed(4)}`) + ".";
}

// draws bins of scores as two charts and a table. share: name of what should equal the score; what: name of what is counted
function drawReliability(parent, found, { share, what }) {
  const edges = current.calibration.edges;
  const bins = found.videos.map((_, bin) => bin).filter((bin) => found.videos[bin] > 0);
  const grid = element("div", { class: "charts" });
  parent.append(grid);
  const pick = (values) => bins.map((bin) => values[bin]);
  const above = bins.map((bin) => found.high[bin] - found.accuracy[bin]), below = bins.map((bin) => found.accuracy[bin] - found.low[bin]);
  draw(grid, `${share} of ${what} by their score`, [
    { x: [0, 100], y: [0, 100], mode: "lines", name: "calibrated", line: { color: colour("edge"), dash: "dash" }, hoverinfo: "skip" },
    { x: pick(found.score), y: pick(found.accuracy), mode: "lines+markers", name: "this model, 95 % interval", line: { color: lineColour(0) },
      error_y: { type: "data", symmetric: false, array: above, arrayminus: below, color: lineColour(0), thickness: 1 } },
  ], layoutOf("Reliability", "score %", `${share.toLowerCase()} %`, { xaxis: { range: [0, 101] }, yaxis: { range: [0, 103] } }));
  const middles = found.videos.map((_, bin) => 50 * (edges[bin] + edges[bin + 1]));
  draw(grid, `Number of ${what} by their score`, [
    { x: middles, y: found.videos, type: "bar", width: 100 / found.videos.length, marker: { color: lineColour(0), line: { color: colour("paper"), width: 1 } } },
  ], layoutOf("Scores", "score %", what, { xaxis: { range: [0, 101] } }));
  const details = element("details", {}, element("summary", {}, "Calibration in numbers"));
  parent.append(details);
  const column = (label, values) => ({ label, number: true, value: (bin) => values[bin], cell: (bin) => (values[bin] === null ? "–" : values[bin].toFixed(2)) });
  makeTable(details, {
    caption: "Calibration bins", file: "calibration.csv", filter: false, rows: bins,
    columns: [
      { label: "Score from %", number: true, value: (bin) => 100 * edges[bin], cell: (bin) => (100 * edges[bin]).toFixed(1) },
      { label: what[0].toUpperCase() + what.slice(1), number: true, value: (bin) => found.videos[bin] }, column("Mean score %", found.score), column(`${share} %`, found.accuracy),
      column("Low", found.low), column("High", found.high),
    ],
  });
}

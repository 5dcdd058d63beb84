"use strict";
// The confusion matrix: it can be sorted, reduced to some classes, zoomed, and explored by mouse or arrow keys.

const matrix = { order: "index", only: "all", text: "", unit: "share", diagonal: true, shown: [], row: 0, column: 0, plot: null };
const ORDERS = [["index", "class index"], ["name", "name"], ["accuracy", "accuracy, lowest first"], ["errors", "errors, most first"], ["videos", "videos, most first"], ["similar", "similar classes together"]];
const SCALE = [0, 0.0001, 0.05, 0.2, 0.5, 1]; // where heat-0 to heat-5 of style.css stand; steep at the low end

function drawMatrix() {
  const area = section("matrix"), size = CLASSES.length;
  const controls = element("div", { class: "controls" },
    choice("Sort classes by", ORDERS, (value) => { matrix.order = value; arrange(); }),
    choice("Classes shown", [["all", `all ${size}`], ...[10, 25, 50, 100].filter((count) => count < size).map((count) => [count, `${count} with the most errors`])], (value) => { matrix.only = value; arrange(); }),
    labelled("Only classes whose name contains",
      element("input", { type: "search", oninput: (event) => { matrix.text = event.target.value; arrange(); } })),
    choice("Colour shows", [["share", "share of the class"], ["count", "number of videos"]], (value) => { matrix.unit = value; paint(); }),
    element("label", { class: "inline" }, element("input", { type: "checkbox", onchange: (event) => { matrix.diagonal = !event.target.checked; paint(); } }), "errors only"));
  const buttons = element("div", { class: "controls" },
    element("button", { type: "button", onclick: () => zoom(0.5) }, "Zoom in"),
    element("button", { type: "button", onclick: () => zoom(2) }, "Zoom out"),
    element("button", { type: "button", onclick: () => zoom(null) }, "Whole matrix"),
    element("button", { type: "button", onclick: openCell }, "Show the videos of this cell"));
  matrix.plot = element("div");
  const focus = element("div", { id: "matrix-area", tabindex: "0", role: "application", "aria-label": "Confusion matrix", "aria-describedby": "matrix-help matrix-readout", onkeydown: onKey }, matrix.plot);
  area.append(
    element("p", { class: "note", id: "matrix-help" }, "Rows are true classes, columns are predicted classes. Drag to enlarge a part; click a cell to see its videos. On the keyboard, arrow keys select a cell, Enter shows its videos, + and - zoom, and 0 shows the whole matrix."),
    controls, buttons, element("p", { id: "matrix-readout", "aria-live": "polite" }), focus);
  Object.assign(matrix, { order: "index", only: "all", text: "", unit: "share", diagonal: true, row: 0, column: 0 });
  arrange();
}

function arrange() {
  const size = CLASSES.length, counts = countMatrix(current), stats = current.per_class;
  const wrong = stats.map(([videos, correct, predicted]) => videos - correct + (predicted - correct));
  const all = CLASSES.map((_, index) => index);
  const by = {
    index: () => all,
    name: () => all.sort((a, b) => CLASSES[a].localeCompare(CLASSES[b], undefined, { numeric: true })),
    accuracy: () => all.sort((a, b) => (stats[a][3] ?? 101) - (stats[b][3] ?? 101) || a - b),
    errors: () => all.sort((a, b) => wrong[b] - wrong[a] || a - b),
    videos: () => all.sort((a, b) => stats[b][0] - stats[a][0] || a - b),
    similar: () => chain(counts, wrong, size),
  };
  let shown = by[matrix.order]();
  if (matrix.only !== "all") {
    const kept = new Set([...CLASSES.keys()].sort((a, b) => wrong[b] - wrong[a] || a - b).slice(0, Number(matrix.only)));
    shown = shown.filter((index) => kept.has(index));
  }
  const wanted = matrix.text.trim().toLowerCase();
  matrix.shown = wanted ? shown.filter((index) => CLASSES[index].toLowerCase().includes(wanted)) : shown;
  matrix.row = Math.min(matrix.row, Math.max(0, matrix.shown.length - 1));
  matrix.column = Math.min(matrix.column, Math.max(0, matrix.shown.length - 1));
  paint();
}

// puts similar classes next to each other: the next class is the one most often confused with the last
function chain(counts, wrong, size) {
  const left = new Set(CLASSES.keys()), order = [];
  const likeness = (a, b) => counts[a * size + b] + counts[b * size + a];
  while (left.size) {
    const last = order.at(-1);
    let best = -1, most = -1;
    for (const index of left) {
      const value = last === undefined ? wrong[index] : likeness(last, index) * 1e6 + wrong[index];
      if (value > most) [best, most] = [index, value];
    }
    order.push(best);
    left.delete(best);
  }
  return order;
}

function paint() {
  const size = CLASSES.length, counts = countMatrix(current), shown = matrix.shown;
  if (!shown.length) {
    Plotly.purge(matrix.plot);
    readout("No class has such a name.");
    return;
  }
  const value = (truth, answer) => {
    const videos = current.per_class[truth][0], count = counts[truth * size + answer];
    if (!videos || (!matrix.diagonal && truth === answer)) return null;
    return matrix.unit === "share" ? (100 * count) / videos : count;
  };
  const z = shown.map((truth) => shown.map((answer) => value(truth, answer)));
  const texts = shown.length > 20 ? null : shown.map((truth) => shown.map((answer) => counts[truth * size + answer] || ""));
  const side = Math.max(320, Math.min(860, shown.length <= 20 ? 140 + 42 * shown.length : 860));
  const layout = layoutOf("", "predicted", "truth", {
    layout: { height: side, dragmode: "zoom", plot_bgcolor: colour("empty"), margin: { l: 60, r: 10, t: 10, b: 60 } },
    xaxis: { showgrid: false, zeroline: false, range: [-0.5, shown.length - 0.5] },
    yaxis: { showgrid: false, zeroline: false, range: [shown.length - 0.5, -0.5] },
  });
  Plotly.newPlot(matrix.plot, [{
    z, type: "heatmap", colorscale: SCALE.map((place, step) => [place, colour(`heat-${step}`)]), zmin: 0, zmax: matrix.unit === "share" ? 100 : undefined, hoverinfo: "none", hoverongaps: false,
    xgap: shown.length <= 60 ? 1 : 0, ygap: shown.length <= 60 ? 1 : 0, text: texts ?? undefined, texttemplate: texts ? "%{text}" : undefined,
    colorbar: { title: { text: matrix.unit === "share" ? "% of class" : "videos", side: "right" }, thickness: 12, outlinewidth: 0 },
  }], layout, CHART).then(label);
  matrix.plot.on("plotly_hover", ({ points: [point] }) => move(point.y, point.x, false));
  matrix.plot.on("plotly_click", ({ points: [point] }) => { move(point.y, point.x, false); openCell(); });
  matrix.plot.on("plotly_relayout", (change) => { if (Object.keys(change).some((key) => key.includes("range"))) label(); });
  move(matrix.row, matrix.column, true);
}

const ranges = () => [matrix.plot.layout.xaxis.range, matrix.plot.layout.yaxis.range].map((range) => [Math.min(...range), Math.max(...range)]);

// labels the axes: with all names in view if they fit, else with every n-th
function label() {
  const last = matrix.shown.length - 1;
  const along = (range, room) => {
    const from = Math.max(0, Math.ceil(range[0])), to = Math.min(last, Math.floor(range[1]));
    const step = Math.max(1, Math.ceil((to - from + 1) / room)), tickvals = [];
    for (let place = from; place <= to; place += step) tickvals.push(place);
    return { tickvals, ticktext: tickvals.map((place) => plain(short(CLASSES[matrix.shown[place]]))) };
  };
  const [x, y] = ranges(), columns = along(x, 50), rows = along(y, 50);
  return Plotly.relayout(matrix.plot, {
    "xaxis.tickvals": columns.tickvals, "xaxis.ticktext": columns.ticktext, "xaxis.tickangle": Math.max(...columns.ticktext.map((text) => text.length)) * columns.ticktext.length > matrix.plot.clientWidth / 10 ? -90 : 0,
    "yaxis.tickvals": rows.tickvals, "yaxis.ticktext": rows.ticktext,
  });
}

function move(row, column, quiet) {
  const last = matrix.shown.length - 1;
  if (last < 0) return;
  matrix.row = Math.min(Math.max(row, 0), last);
  matrix.column = Math.min(Math.max(column, 0), last);
  const truth = matrix.shown[matrix.row], answer = matrix.shown[matrix.column];
  const count = countMatrix(current)[truth * CLASSES.length + answer], videos = current.per_class[truth][0];
  readout("truth ", named(CLASSES[truth]), ", predicted ", named(CLASSES[answer]), ": ",
    `${count} of ${counted(videos, "video")}` + (videos ? ` (${percent((100 * count) / videos, 1)})` : ""));
  const line = { color: colour("focus"), width: 2 };
  const shape = { type: "rect", x0: matrix.column - 0.5, x1: matrix.column + 0.5, y0: matrix.row - 0.5, y1: matrix.row + 0.5, line };
  if (!quiet || matrix.plot.layout) Plotly.relayout(matrix.plot, { shapes: [shape] });
}

function readout(...parts) {
  document.getElementById("matrix-readout").replaceChildren(...parts);
}

function zoom(factor) {
  const count = matrix.shown.length;
  if (!count) return;
  let x = [-0.5, count - 0.5], y = x;
  if (factor !== null) {
    const around = ([from, to], centre) => {
      const width = Math.min(count, Math.max(Math.min(4, count), (to - from) * factor));
      const start = Math.min(Math.max(centre - width / 2, -0.5), count - 0.5 - width);
      return [start, start + width];
    };
    const [wide, high] = ranges();
    [x, y] = [around(wide, matrix.column), around(high, matrix.row)];
  }
  Plotly.relayout(matrix.plot, { "xaxis.range": x, "yaxis.range": [y[1], y[0]] });
}

function keepInView() {
  const [x, y] = ranges();
  const shift = ([from, to], place) => (place - 0.5 < from ? place - 0.5 - from : place + 0.5 > to ? place + 0.5 - to : 0);
  const dx = shift(x, matrix.column), dy = shift(y, matrix.row);
  if (dx || dy) Plotly.relayout(matrix.plot, { "xaxis.range": [x[0] + dx, x[1] + dx], "yaxis.range": [y[1] + dy, y[0] + dy] });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const other = { Enter: openCell, "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoom(null) };
  if (steps[event.key]) {
    move(matrix.row + steps[event.key][0], matrix.column + steps[event.key][1], false);
    keepInView();
  } else if (other[event.key]) other[event.key]();
  else return;
  event.preventDefault();
}

function openCell() {
  if (matrix.shown.length) showVideos({ truth: matrix.shown[matrix.row], answer: matrix.shown[matrix.column] });
}

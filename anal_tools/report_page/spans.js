"use strict";
// The sections about a list of spans: timelines of truth and prediction, and numbers of spans by class and by video.

const momentOf = (value) => (current.spans.in_frames ? `frame ${Math.round(value).toLocaleString("en")}` : clock(value));
const lengthOf = (label, value) => number(label, value, (row) => (value(row) === null ? "–" : current.spans.in_frames ? Math.round(value(row)).toLocaleString("en") : value(row).toFixed(1)));

function drawSpanTimelines() {
  const area = section("timelines"), found = current.spans;
  if (!found) {
    area.append(element("p", {}, "The list of this experiment has whole videos only."));
    return;
  }
  const { timelines, videos } = found, all = timelines.length < videos.length ? `The ${counted(timelines.length, "video")} with the most errors` : `The ${counted(videos.length, "video")}`;
  area.append(element("p", { class: "note" }, `${all}, the worst first. Above are the spans of the list by their true class, below them by the predicted ones. A timeline ends with the last span of its video.` +
    (found.whole ? ` ${counted(found.whole, "row")} of the list ${found.whole === 1 ? "is a whole video and is" : "are whole videos and are"} not here.` : "")));
  makeTimelines(area, timelines, {
    classes: CLASSES, paths: videos.map(([path]) => path), length: () => 0, moment: momentOf, truth: "true span",
    kinds: [{ name: "right", colour: "good" }, { name: "wrong", colour: "bad", wrong: true }, { name: "no true class known", colour: "edge" }],
  });
}

function drawSpanNumbers() {
  const area = section("spans"), found = current.spans;
  if (!found) {
    area.append(element("p", {}, "The list of this experiment has whole videos only."));
    return;
  }
  const unit = found.in_frames ? "frames" : "s";
  const columns = (of) => [
    number("True", (row) => of(row).true), number("Found", (row) => of(row).found), number("False answers", (row) => of(row).false),
    share("Share found", (row) => of(row).share), lengthOf(`True ${unit}`, (row) => of(row).length), share("Found by time", (row) => of(row).length_share),
  ];
  area.append(element("p", { class: "note" }, `A span is found if its true class is predicted${DATA.multi_label ? ", for each of its classes" : ""}. Found by time weighs each span by its length, so it says how much of what is labelled has the right class.`));
  makeTable(area, {
    caption: "Spans by class", file: "spans_by_class.csv", rows: CLASSES.map((_, index) => index), size: 50,
    columns: [
      { label: "Class", value: (row) => CLASSES[row], cell: (row) => named(CLASSES[row]) }, ...columns((row) => found.classes[row]),
      lengthOf(`Median ${unit}, found`, (row) => found.classes[row].median_found), lengthOf(`Median ${unit}, missed`, (row) => found.classes[row].median_missed),
    ],
  });
  makeTable(area, {
    caption: "Spans by video", file: "spans_by_video.csv", rows: found.videos,
    columns: [{ label: "Video", value: ([path]) => path }, ...columns(([, numbers]) => numbers)],
  });
}

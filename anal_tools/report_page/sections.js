"use strict";
// Lists the sections of the report of an experiment, in their order.

// id, title, function that draws it
const SPANS = DATA.experiments.some((one) => one.spans) ? [["timelines", "Timelines", drawSpanTimelines], ["spans", "Spans", drawSpanNumbers]] : [];
const TIMED = SEGMENT_SECTIONS.map(([id, title, draw]) => [id, `Segments: ${title.toLowerCase()}`, draw]);
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
    ...SPANS, ...TIMED,
    ["together", "Classes together", drawTogether],
    ["calibration", "Calibration", drawSetCalibration],
    ["videos", "Videos", drawSetVideos],
  ] : [
    ["matrix", "Confusion matrix", drawMatrix],
    ["pairs", "Most confused pairs", drawPairs],
    ["classes", "Accuracy per class", drawClasses],
    ...SPANS, ...TIMED,
    ["errors", "Top errors", drawErrors],
    ["right", "Right answers", drawRight],
    ["calibration", "Calibration", drawCalibration],
    ...(DATA.experiments.some((one) => one.litmus) ? [["time", "Does it see time?", drawLitmus]] : []),
    ["videos", "Videos", drawVideos],
  ]),
];
const OF_ALL = ["notes", "comparison", "curves"]; // these show all experiments at once
const CHARTED = ["curves", "matrix", "answers", "calibration", ...SEGMENT_CHARTS]; // the charts of these depend on light or dark mode

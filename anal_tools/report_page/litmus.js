"use strict";
// Shows which classes need time, as tools.litmus has found out.

const inPercent = (range) => (range ? `${range.value.toFixed(0)} (${range.low.toFixed(0)} to ${range.high.toFixed(0)})` : "–");

function drawLitmus() {
  const area = section("time"), found = current.litmus;
  if (!found) {
    area.append(element("p", {}, "This experiment has no litmus.json of tools.litmus."));
    return;
  }
  area.append(element("p", { class: "note" }, `${found.videos} videos; ${found.protocol}. Percent of the videos of a class, with 95 % intervals: how many are right as they are, and how many fewer when their clips are changed.`));
  if (found.note) area.append(element("p", { class: "note" }, found.note));
  makeTable(area, {
    caption: "Accuracy by what is left of clips", file: "conditions.csv", filter: false, rows: Object.entries(found.right),
    columns: [
      { label: "Clips", value: ([name]) => name },
      { label: "Right", number: true, value: ([, right]) => right, cell: ([, right]) => (right === null ? "not possible" : percent(right, 1)) },
    ],
  });
  const lost = (condition) => ({ number: true, value: (one) => one.lost[condition]?.value, cell: (one) => inPercent(one.lost[condition]) });
  makeTable(area, {
    caption: "What classes need", file: "needs.csv", rows: found.classes, size: 50,
    columns: [
      { label: "Class", value: (one) => one.name, cell: (one) => named(one.name) },
      { label: "Verdict", value: (one) => one.verdict },
      { label: "Videos", number: true, value: (one) => one.videos },
      { label: "Right", number: true, value: (one) => one.right.value, cell: (one) => inPercent(one.right) },
      ...Object.keys(found.right).filter((name) => name !== "as it is").map((name) => ({ label: `Lost: ${name}`, ...lost(name) })),
      { label: "By what stands still alone", value: (one) => (one.still ? "yes" : "") },
      { label: "Follows the background", number: true, value: (one) => one.follows?.value, cell: (one) => inPercent(one.follows) },
    ],
  });
}

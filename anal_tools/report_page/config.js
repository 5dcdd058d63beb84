"use strict";
// What every report tells of its experiments, however many classes a video has.

function drawConfig() {
  const area = section("config");
  area.append(element("p", {}, "Folder ", named(current.folder), ". Protocol: ", current.protocol || "not recorded", "."));
  if (current.config_problem) area.append(element("p", { class: "wrong" }, `The config cannot be shown: ${current.config_problem}`));
  if (!current.config.length) return;
  const details = element("details", {}, element("summary", {}, `All ${current.config.length} values in force`));
  area.append(details);
  makeTable(details, {
    caption: "Config", file: "config.csv", rows: current.config, size: 200,
    columns: [
      { label: "Key", value: (row) => row[0] },
      { label: "Value", value: (row) => row[1], mark: (row) => (row[2] ? "set" : "") },
      { label: "From", value: (row) => (row[2] ? "config.yaml" : "default") },
    ],
  });
}

// classes and videos that some number has to do without
function drawLeftOut(area, number) {
  for (const one of DATA.experiments) {
    const { seen, unlabelled } = one.summary;
    const notes = [];
    if (seen < CLASSES.length) notes.push(`${counted(CLASSES.length - seen, "class", "classes")} of ${CLASSES.length} without a video, left out of ${number}`);
    if (unlabelled) notes.push(`${counted(unlabelled, "video")} without a label, left out of all numbers`);
    if (notes.length) area.append(element("p", { class: "note" }, named(one.name), `: ${notes.join("; ")}.`));
  }
}

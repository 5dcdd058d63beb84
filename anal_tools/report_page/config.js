"use strict";
// The parts of a report that do not depend on the kind of label.

// what the training said about itself: command, machine, duration
function drawRun(area) {
  if (!current.run.length) return;
  const list = element("dl", { class: "run", "aria-label": "The training" });
  for (const [title, text] of current.run) list.append(element("dt", {}, title), element("dd", {}, named(text)));
  area.append(list);
}

function drawConfig() {
  const area = section("config");
  area.append(element("p", {}, "Folder ", named(current.folder), ". Protocol: ", current.protocol || "not recorded", "."));
  if (current.config_problem) area.append(element("p", { class: "wrong" }, `The config cannot be shown: ${current.config_problem}`));
  if (!current.run.length && current.config.length) area.append(element("p", { class: "note" }, "These are the values of config.yaml: no training here has noted what it ran with."));
  if (!current.config.length) return;
  const details = element("details", {}, element("summary", {}, `All ${current.config.length} values`));
  area.append(details);
  makeTable(details, {
    caption: "Config", file: "config.csv", rows: current.config, size: 200,
    columns: [
      { label: "Key", value: (row) => row[0] },
      { label: "Value", value: (row) => row[1], mark: (row) => (row[2] ? "set" : "") },
      { label: "From", value: (row) => row[2] || "default" },
    ],
  });
}

// notes which classes and videos a number leaves out
function drawLeftOut(area, number) {
  for (const one of DATA.experiments) {
    const { seen, unlabelled } = one.summary;
    const notes = [];
    if (seen < CLASSES.length) notes.push(`${number} leaves out ${counted(CLASSES.length - seen, "class", "classes")} of ${CLASSES.length} without a video`);
    if (unlabelled) notes.push(`all numbers leave out ${counted(unlabelled, "video")} without a label`);
    if (notes.length) area.append(element("p", { class: "note" }, named(one.name), `: ${notes.join("; ")}.`));
  }
}

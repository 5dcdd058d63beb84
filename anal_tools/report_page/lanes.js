"use strict";
// Segments of videos as blocks in lanes.

const clock = (value) => `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, "0")}`;

function block(name, colourName) {
  const node = element("i", { class: name });
  if (colourName) node.style.background = `var(--${colourName})`;
  return node;
}

// places segments that overlap into different rows. always: one row even without segments
function rowsOf(segments, always = false) {
  const rows = always && !segments.length ? [[]] : [];
  for (const segment of [...segments].sort((a, b) => a[0] - b[0])) {
    const row = rows.find((one) => one[one.length - 1][1] <= segment[0]);
    if (row) row.push(segment);
    else rows.push([segment]);
  }
  return rows;
}

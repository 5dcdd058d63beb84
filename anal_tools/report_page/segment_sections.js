"use strict";
// Lists the sections of the page of segments, in their order.

const SECTIONS = [...(DATA.notes.length ? [["notes", "Notes", drawNotes]] : []), ...SEGMENT_SECTIONS];
const OF_ALL = ["notes"];
const CHARTED = SEGMENT_CHARTS;

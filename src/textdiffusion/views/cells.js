const KINDS = ["prompt", "mask", "new", "settled"];
const $ = id => document.getElementById(id);

// The file holds what changes from frame to frame; here every frame becomes a full row of cells.
function statesOf(trace) {
  const states = [];
  for (const frame of trace.frames) {
    const row = states.length ? states[states.length - 1].slice() : new Array(trace.positions);
    for (const [position, text, kind, confidence, since] of frame.cells)
      row[position] = { text: trace.texts[text], kind: KINDS[kind], confidence, since };
    states.push(row);
  }
  return states;
}

// A place for each cell: the blanks before a word stay outside of its colour.
function spansIn(parent, count) {
  const spans = [];
  for (let i = 0; i < count; i++) {
    const span = document.createElement("span");
    span.dataset.position = i;
    span.append(document.createTextNode(""), document.createElement("b"));
    spans.push(span);
  }
  parent.append(...spans);
  return spans;
}

// Show a row of cells where another one, or nothing, was shown.
function draw(spans, row, shown) {
  row.forEach((cell, i) => {
    if (shown && shown[i] === cell) return;
    const body = cell.text.trimStart(), span = spans[i];
    span.firstChild.data = cell.text.slice(0, cell.text.length - body.length);
    span.lastChild.textContent = body;
    span.className = "cell " + cell.kind + (cell.confidence === null ? "" : " known");
    span.style.setProperty("--alpha", cell.confidence === null ? 0 : (0.85 * (1 - cell.confidence)).toFixed(3));
  });
}

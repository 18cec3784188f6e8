// A recorded text: filled by the events of a stream, saved and opened as the file that `--save x.json` writes.
import { MASK, cellsOf } from "./cells.js";

const FORMAT = "textdiffusion trace", VERSION = 1;
const NO_TRACE = "this file is no whole trace; open one that this page, or textdiffusion --save x.json, has written.";

export class Trace {
  constructor({ model, sampler, seed = null, mask = MASK, special = [] }) {
    Object.assign(this, { model, sampler, seed, mask, special: new Set(special) });
    this.roles = null;
    this.steps = 0;
    this.frames = [];
    this.rows = [];
    this.base = { step: 0, nfe: 0, seconds: 0 };
  }

  get last() { return this.frames.at(-1); }
  get times() { return this.frames.map(frame => frame.seconds); }
  get text() { return this.last ? this.last.pieces.map(piece => piece ?? this.mask).join("") : ""; }
  get written() { return this.roles ? this.roles.filter(role => role === "editable").length : 0; }

  // A step of the stream; of a text that is written again the steps count on.
  add(event) {
    const { step, nfe, seconds } = this.base;
    if (event.roles) this.begin(event);
    this.steps = event.steps + step;
    this.push({ ...event, step: event.step + step, nfe: event.nfe + nfe, seconds: event.seconds + seconds });
  }

  begin(event) {
    const before = this.roles;
    this.roles = event.roles.map((role, i) => before && before[i] === "editable" ? "editable" : role);
    this.seed = event.seed ?? this.seed;
  }

  push(frame) {
    this.frames.push(frame);
    this.rows.push(this.rowAt(this.frames.length - 1, false));
  }

  rowAt(index, last) {
    const { mask, special } = this;
    return cellsOf(this.frames[index], index ? this.rows[index - 1] : null, this.roles, { mask, last, special });
  }

  // Nothing is new any more in the last of the frames.
  finish() {
    if (this.frames.length) this.rows[this.rows.length - 1] = this.rowAt(this.frames.length - 1, true);
  }

  // What comes after this moment is dropped, and what will come counts on from it.
  cut(at) {
    this.frames.length = this.rows.length = at + 1;
    const { step, nfe, seconds } = this.last;
    this.base = { step, nfe, seconds };
  }

  // Another token in one place, as a step of its own that cost nothing.
  replace(place, { id, piece, probability }) {
    const frame = structuredClone(this.last);
    frame.step += 1;
    frame.tokens[place] = id;
    frame.pieces[place] = piece;
    frame.settled[place] = true;
    frame.confidence[place] = probability;
    this.roles[place] = "editable";
    this.steps = Math.max(this.steps, frame.step);
    this.push(frame);
    this.finish();
  }

  toFile() {
    const table = [...new Set(this.frames.flatMap(frame => frame.pieces))];
    const number = new Map(table.map((piece, i) => [piece, i]));
    const frames = this.frames.map(frame => ({
      step: frame.step, nfe: frame.nfe, seconds: frame.seconds, tokens: frame.tokens,
      pieces: frame.pieces.map(piece => number.get(piece)),
      settled: frame.settled.map(Number),
      confidence: frame.confidence,
    }));
    const { model, sampler, seed, steps, mask, roles, last } = this;
    const likely = { alternatives: last.alternatives ?? null, alternative_ids: last.alternative_ids ?? null };
    return { format: FORMAT, version: VERSION, model, sampler, seed, steps, mask, roles, pieces: table, frames, ...likely };
  }

  static fromFile(text, special) {
    let plain;
    try { plain = JSON.parse(text); } catch { throw new Error(NO_TRACE); }
    if (plain?.format !== FORMAT) throw new Error(NO_TRACE);
    if (plain.version !== VERSION) throw new Error(`this trace is version ${plain.version}, this page reads ${VERSION}.`);
    if (!isWhole(plain)) throw new Error(NO_TRACE);
    const trace = new Trace({ ...plain, special });
    trace.roles = plain.roles;
    for (const frame of plain.frames)
      trace.push({ ...frame, pieces: frame.pieces.map(i => plain.pieces[i]), settled: frame.settled.map(Boolean) });
    Object.assign(trace.last, { alternatives: plain.alternatives, alternative_ids: plain.alternative_ids });
    trace.steps = plain.steps;
    trace.finish();
    return trace;
  }
}

function isWhole({ model, sampler, mask, steps, roles, pieces, frames }) {
  const all = (list, is) => Array.isArray(list) && list.every(is);
  const text = one => typeof one === "string", known = i => Number.isInteger(i) && i >= 0 && i < pieces.length;
  const column = (list, is) => all(list, is) && list.length === roles.length;
  const frame = one =>
    [one.step, one.nfe, one.seconds].every(Number.isFinite) && column(one.tokens, Number.isInteger) &&
    column(one.pieces, known) && column(one.settled, Number.isFinite) &&
    column(one.confidence, sure => sure === null || Number.isFinite(sure));
  return [model, sampler, mask].every(text) && Number.isInteger(steps) &&
    all(roles, role => role === "prompt" || role === "editable") &&
    all(pieces, piece => piece === null || text(piece)) && frames?.length > 0 && all(frames, frame);
}

// Hand a trace to the reader as a file.
export function download(trace) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(trace.toFile())], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${trace.model}-${trace.sampler}-${trace.seed ?? "trace"}.json`.replace(/[^\w.-]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

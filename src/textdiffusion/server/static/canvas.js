// A text that settles: a token is a button that says what it knows, and can be marked to be written anew.
import { endsText, groupOf } from "./cells.js";
import { Tip } from "./tip.js";

const END = "■";

export class Canvas {
  // `marked()` hears of every mark; `replace(place, choice)` of another token that was chosen.
  constructor(parent, { label, marked = () => {}, replace = () => {} }) {
    this.box = document.createElement("div");
    this.box.className = "canvas";
    parent.append(this.box);
    this.text = document.createElement("div");
    Object.assign(this.text, { className: "text sure", dir: "auto" });
    this.text.setAttribute("role", "group");
    this.text.setAttribute("aria-label", label);
    this.box.append(this.text);
    this.marked = marked;
    this.tip = new Tip(this.box, choice => this.choose(choice, replace));
    this.tip.box.id = `tip-${Canvas.number = (Canvas.number ?? 0) + 1}`;
    this.clear();
    this.listen();
  }

  clear() {
    this.text.replaceChildren();
    this.tip.close();
    Object.assign(this, { spans: [], row: [], marks: new Set(), changes: false, current: -1, end: -1, shows: () => true });
  }

  // Only the places for which `shows` is true; those of a prompt may be left out.
  only(shows) { this.shows = shows; }

  // Whether tokens can be marked and replaced.
  allow(changes) {
    this.changes = changes;
    this.text.classList.toggle("open", changes);
    for (const span of this.spans) span.setAttribute("aria-disabled", String(!changes));
    if (!changes) this.unmark();
  }

  unmark() {
    this.marks.clear();
    this.paintMarks();
  }

  show(row) {
    if (row.length !== this.spans.length) this.build(row.length);
    const before = this.row, end = row.findIndex((_, i) => endsText(row, i)), same = end === this.end;
    Object.assign(this, { row, end });
    row.forEach((cell, i) => { if (before[i] !== cell || !same) this.draw(i); });
    if (!this.spans[this.current] || this.spans[this.current].hidden) this.focusable(this.spans.findIndex(span => !span.hidden));
    const open = !this.tip.box.hidden && this.placeOf(this.tip.token);
    if (Number.isInteger(open)) this.explain(open);
  }

  build(size) {
    this.tip.close();
    this.row = [];
    this.current = -1;
    this.spans = Array.from({ length: size }, (_, i) => {
      const span = document.createElement("span");
      span.dataset.position = i;
      span.tabIndex = -1;
      span.setAttribute("role", "button");
      span.setAttribute("aria-pressed", "false");
      span.setAttribute("aria-disabled", String(!this.changes));
      span.append(document.createTextNode(""), document.createElement("b"), document.createTextNode(""));
      return span;
    });
    this.text.replaceChildren(...this.spans);
  }

  draw(i) {
    const cell = this.row[i], span = this.spans[i];
    const { lead, body, trail, name } = partsOf(cell, endsText(this.row, i));
    const behind = this.end >= 0 && i > this.end && cell.kind !== "prompt";
    span.firstChild.data = lead;
    span.children[0].textContent = body;
    span.lastChild.data = trail;
    span.hidden = body === "" || !this.shows(i);
    span.className = `cell ${cell.kind}${cell.confidence === null ? "" : " known"}${name ? " blank" : ""}${behind ? " behind" : ""}`;
    span.style.setProperty("--doubt-share", cell.confidence === null ? "0%" : `${(85 * (1 - cell.confidence)).toFixed(1)}%`);
    if (name) span.setAttribute("aria-label", name);
    else span.removeAttribute("aria-label");
  }

  focusable(place) {
    if (this.spans[this.current]) this.spans[this.current].tabIndex = -1;
    this.current = place;
    if (this.spans[place]) this.spans[place].tabIndex = 0;
  }

  placeOf(target) {
    const span = target?.closest?.("[data-position]");
    return span && this.text.contains(span) ? Number(span.dataset.position) : null;
  }

  explain(place) {
    const span = this.spans[place];
    this.tip.open(span, this.row[place], { changes: this.changes });
    span.setAttribute("aria-describedby", this.tip.box.id);
  }

  toggle(place) {
    if (!this.changes) return;
    const group = groupOf(this.row, place), marks = !this.marks.has(place);
    for (const i of group) marks ? this.marks.add(i) : this.marks.delete(i);
    this.paintMarks();
  }

  paintMarks() {
    this.spans.forEach((span, i) => span.setAttribute("aria-pressed", String(this.marks.has(i))));
    this.marked();
  }

  choose(choice, replace) {
    const place = this.placeOf(this.tip.token), own = this.row[place];
    const now = own.choices.find(other => other.id === own.token);
    // A tokenizer that tells nothing of spaces lets them stand as they were.
    const lead = now && own.text.endsWith(now.piece) ? own.text.slice(0, own.text.length - now.piece.length) : "";
    const joins = choice.piece.startsWith("##");
    this.marks.delete(place);
    replace(place, { ...choice, piece: joins ? choice.piece.slice(2) : lead + choice.piece });
    this.paintMarks();
    this.spans[place].focus();
  }

  listen() {
    const { text, tip } = this;
    const placed = act => event => {
      const place = this.placeOf(event.target);
      if (place !== null) act(place, event);
    };
    text.addEventListener("pointerover", placed(place => this.explain(place)));
    text.addEventListener("pointerleave", () => tip.leave());
    text.addEventListener("focusin", placed(place => { this.focusable(place); this.explain(place); }));
    text.addEventListener("focusout", event => { if (!tip.box.contains(event.relatedTarget)) tip.leave(); });
    text.addEventListener("click", placed(place => { this.toggle(place); this.spans[place].focus(); }));
    text.addEventListener("keydown", placed((place, event) => this.press(place, event)));
  }

  press(place, event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const seen = this.spans.flatMap((span, i) => span.hidden ? [] : [i]), at = seen.indexOf(place);
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: seen.length - 1 };
    if (event.key in moves) this.spans[seen[Math.max(0, Math.min(seen.length - 1, moves[event.key]))]].focus();
    else if (event.key === "Enter" || event.key === " ") this.toggle(place);
    else if (/^[1-9]$/.test(event.key)) this.tip.box.querySelector(`[aria-keyshortcuts="${event.key}"]`)?.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// The blanks before a word stay outside of its colour; a token of blanks alone is shown by a sign.
function partsOf(cell, end) {
  if (end) return { lead: " ", body: END, trail: "", name: "end of text" };
  const body = cell.text.trimStart(), lead = cell.text.slice(0, cell.text.length - body.length);
  if (body || !cell.text) return { lead, body, trail: "", name: cell.kind === "mask" ? "noise" : "" };
  if (/\n/.test(lead)) return { lead: "", body: "↵", trail: lead, name: "line break" };
  return { lead: "", body: lead.replace(/[^\t]/g, "␣").replace(/\t/g, "⇥"), trail: "", name: "space" };
}

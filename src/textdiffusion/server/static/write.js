// The tab Write: one text, watched while it settles, in which tokens are opened again.
import { Canvas } from "./canvas.js";
import { Settings, element, taskField, whole } from "./form.js";
import { Player } from "./player.js";
import { Run, lengthField, lengthOf, requestOf } from "./run.js";
import { Trace, download } from "./trace.js";

export class Write {
  constructor(section, page) {
    this.page = page;
    const place = name => section.querySelector(`[data-place=${name}]`);
    this.form = section.querySelector("form");
    this.run = new Run(section, page);
    const result = place("result");
    this.settings = new Settings(place("settings"), page.offers);
    this.length = lengthField(this.settings.first, page.offers);
    this.seed = taskField(this.settings.first, { name: "seed", label: "seed", placeholder: "drawn", about: "The same seed gives the same text." });
    this.facts = element("p", { className: "soft facts" }, result);
    this.canvas = new Canvas(result, {
      label: "The text; press a token to open it again",
      marked: () => this.offer(),
      replace: (at, choice) => this.replace(at, choice),
    });
    this.player = new Player(result, at => this.show(at));
    this.again = element("div", { className: "actions", hidden: true });
    this.redo = element("button", { type: "button", className: "first", textContent: "Denoise again", onclick: () => this.denoise() }, this.again);
    this.unmark = element("button", { type: "button", textContent: "Clear marks", onclick: () => this.canvas.unmark() }, this.again);
    this.hint = element("span", { className: "soft small" }, this.again);
    this.player.root.prepend(this.again);
    this.player.part.confidence.onchange = event => this.canvas.text.classList.toggle("sure", event.target.checked);
    result.append(document.getElementById("legend").content.cloneNode(true));
    result.dataset.empty = "Nothing is written yet. Run, and watch the tokens settle.";
    this.result = result;
    this.idle(true);
    this.form.addEventListener("submit", event => { event.preventDefault(); this.start(); });
    this.saves = section.querySelector("[data-do=save]");
    this.saves.onclick = () => download(this.trace);
    section.querySelector("[data-do=open]").onchange = event => this.open(event.target);
  }

  start() {
    if (this.run.running) return;
    this.page.attempt(() => {
      const body = { ...this.settings.values, seed: whole(this.seed, "seed") };
      const { path, body: asked } = requestOf(this.page.offers, this.form.elements.text.value, lengthOf(this.length), body);
      this.trace = this.newTrace();
      return this.follow(path, asked, () => { this.canvas.clear(); this.player.load([]); });
    });
  }

  // Write what is marked, and what is noise at the moment that is shown, anew.
  denoise() {
    this.page.attempt(() => {
      const row = this.trace.rows[this.player.at], { marks } = this.canvas;
      const tokens = row.map((cell, i) => marks.has(i) || cell.kind === "mask" ? null : cell.token);
      const body = { ...this.settings.values, seed: whole(this.seed, "seed"), tokens };
      this.trace.cut(this.player.at);
      this.trace.sampler = this.settings.sampler.name;
      return this.follow("v1/fill", body, () => this.player.load(this.trace.times));
    });
  }

  async follow(path, body, ready) {
    ready();
    this.canvas.allow(false);
    this.idle(false);
    this.player.begin();
    let text = "";
    try {
      await this.run.go(path, body, step => {
        this.trace.add(step);
        this.player.grow(this.trace.times, this.trace.frames.length + step.steps - step.step);
        if (step.step === 0) this.result.scrollIntoView({ block: "nearest" });
      }, choice => { text += choice.text; });
      this.page.announce(text);
    } finally {
      this.trace.finish();
      this.player.end();
      this.idle(!this.trace.last);
      this.settle();
    }
  }

  idle(empty) {
    this.result.classList.toggle("empty", empty);
  }

  // What is there can now be changed, saved and replayed.
  settle() {
    this.saves.disabled = !this.trace.last;
    this.canvas.allow(Boolean(this.trace.last) && this.ours);
    this.offer();
  }

  get ours() { return this.trace.model.split("/").pop() === this.page.offers.model.split("/").pop(); }

  newTrace() {
    const { model, special } = this.page.offers;
    return new Trace({ model, sampler: this.settings.sampler.name, special });
  }

  show(at) {
    const { trace } = this, frame = trace.frames[at];
    this.canvas.show(trace.rows[at]);
    this.offer();
    const seed = trace.seed === null ? "" : `, seed ${trace.seed}`;
    this.facts.textContent = `${trace.model}, ${trace.sampler}${seed}, ${trace.written} new tokens`;
    return `Step ${frame.step} / ${trace.steps}, ${frame.nfe} call${frame.nfe === 1 ? "" : "s"}, ${frame.seconds.toFixed(2)} s`;
  }

  offer() {
    if (!this.again || !this.trace) return;
    const marks = this.canvas.marks.size, noise = this.canvas.row.filter(cell => cell.kind === "mask").length;
    this.again.hidden = !this.canvas.changes;
    this.redo.disabled = marks + noise === 0;
    this.unmark.disabled = marks === 0;
    const places = `${marks + noise} token${marks + noise === 1 ? "" : "s"} to write`;
    this.hint.textContent = marks + noise ? places : "Press tokens to open them again; their tips offer others.";
  }

  replace(at, choice) {
    this.trace.cut(this.player.at);
    this.trace.replace(at, choice);
    this.player.load(this.trace.times);
  }

  async open(input) {
    const [file] = input.files;
    input.value = "";
    if (!file || this.run.running) return;
    await this.page.attempt(async () => {
      const trace = Trace.fromFile(await file.text(), this.page.offers.special);
      this.trace = trace;
      this.canvas.clear();
      this.idle(false);
      this.player.load(trace.times);
      this.settle();
      this.page.announce(trace.text);
    });
  }

  step(by) { if (this.trace?.last) this.player.step(by); }
  stop() { return this.canvas.tip.close() || this.run.stop(); }
}

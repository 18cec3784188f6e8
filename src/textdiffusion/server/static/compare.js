// The tab Compare: one prompt and one seed, two settings, and one clock for both.
import { Canvas } from "./canvas.js";
import { Settings, element, taskField, whole } from "./form.js";
import { Player } from "./player.js";
import { Run, lengthField, lengthOf, requestOf, streamed } from "./run.js";
import { Trace, download } from "./trace.js";

const SECOND = "confidence"; // what stands beside the usual sampler at first, where there is such a one

export class Compare {
  constructor(section, page) {
    this.page = page;
    const place = name => section.querySelector(`[data-place=${name}]`);
    this.form = section.querySelector("form");
    this.run = new Run(section, page);
    this.length = lengthField(place("task"), page.offers);
    this.seed = taskField(place("task"), { name: "seed", label: "seed of both", placeholder: "drawn" });
    const names = page.offers.samplers.map(one => one.name);
    const result = this.result = place("result"), pair = element("div", { className: "pair" }, result);
    this.panels = ["left", "right"].map((side, i) => {
      const settings = new Settings(place(side), page.offers, i && names.includes(SECOND) ? SECOND : null);
      return new Panel(pair, side, settings);
    });
    this.player = new Player(result, at => this.show(at));
    this.player.root.classList.add("below");
    this.player.part.confidence.onchange = event => {
      for (const panel of this.panels) panel.canvas.text.classList.toggle("sure", event.target.checked);
    };
    result.append(document.getElementById("legend").content.cloneNode(true));
    result.dataset.empty = "Nothing is written yet. Choose two ways, run, and see what each costs.";
    result.classList.add("empty");
    this.form.addEventListener("submit", event => { event.preventDefault(); this.start(); });
  }

  start() {
    if (this.run.running) return;
    this.page.attempt(() => {
      const length = lengthOf(this.length);
      const seed = whole(this.seed, "seed") ?? Math.floor(Math.random() * 2 ** 31);
      const text = this.form.elements.text.value;
      const asked = this.panels.map(panel => requestOf(this.page.offers, text, length, { ...panel.settings.values, seed }));
      const apart = this.form.elements.apart.checked;
      return this.run.together(signal => this.follow(asked, signal, apart));
    });
  }

  async follow(asked, signal, apart) {
    const { model, special } = this.page.offers;
    this.result.classList.remove("empty");
    this.player.load([]);
    for (const panel of this.panels) panel.begin(new Trace({ model, sampler: panel.settings.sampler.name, special }));
    const works = this.panels.map((panel, i) => () =>
      streamed(asked[i].path, asked[i].body, signal, step => panel.add(step), choice => { panel.text += choice.text; }));
    try {
      if (apart) for (const work of works) await work();
      else await all(works.map(work => work()), () => this.run.stop());
      this.page.announce(this.panels.map(panel => `${panel.trace.sampler}: ${panel.text}`).join("\n"));
    } finally {
      for (const panel of this.panels) panel.end();
      this.moments = [...new Set(this.panels.flatMap(panel => panel.trace.times))].sort((a, b) => a - b);
      this.player.load(this.moments);
      this.result.classList.toggle("empty", !this.moments.length);
    }
  }

  show(at) {
    const now = this.moments[at];
    for (const panel of this.panels) panel.at(now);
    return `${now.toFixed(2)} s of ${this.moments.at(-1).toFixed(2)} s`;
  }

  step(by) { if (!this.run.running) this.player.step(by); }
  stop() { return this.panels.map(panel => panel.canvas.tip.close()).some(Boolean) || this.run.stop(); }
}

// One of the two texts.
class Panel {
  constructor(parent, side, settings) {
    this.settings = settings;
    const box = element("section", { className: "panel" }, parent);
    const head = element("div", { className: "row" }, box);
    this.name = element("h2", {}, head);
    element("span", { className: "grow" }, head);
    this.save = element("button", { type: "button", textContent: "Save trace", onclick: () => download(this.trace) }, head);
    this.save.setAttribute("aria-label", `Save the trace of the ${side} text`);
    this.state = element("p", { className: "soft state" }, box);
    this.bar = element("progress", { max: 1, value: 0 }, box);
    this.bar.setAttribute("aria-label", `Steps of the ${side} text`);
    this.canvas = new Canvas(box, { label: `The ${side} text` });
  }

  begin(trace) {
    this.trace = trace;
    this.text = "";
    this.name.textContent = trace.sampler;
    this.state.textContent = "waits";
    this.bar.value = 0;
    this.save.disabled = true;
    this.canvas.clear();
  }

  add(step) {
    this.trace.add(step);
    this.draw(this.trace.frames.length - 1);
    if (step.step === 0) this.canvas.box.scrollIntoView({ block: "nearest" });
  }

  end() {
    this.trace.finish();
    this.save.disabled = !this.trace.last;
  }

  // The newest of the frames at that time.
  at(seconds) {
    const index = this.trace.frames.findLastIndex(frame => frame.seconds <= seconds);
    if (index >= 0) this.draw(index);
  }

  draw(index) {
    const frame = this.trace.frames[index], calls = `${frame.nfe} call${frame.nfe === 1 ? "" : "s"}`;
    this.canvas.show(this.trace.rows[index]);
    this.bar.max = Math.max(1, this.trace.steps);
    this.bar.value = frame === this.trace.last && !frame.settled.includes(false) ? this.bar.max : frame.step;
    this.state.textContent = `step ${frame.step} / ${this.trace.steps}, ${calls}, ${frame.seconds.toFixed(2)} s`;
  }
}

// All of them; where one fails the others are stopped, and what has failed is told.
async function all(works, stop) {
  const failed = [];
  await Promise.all(works.map(work => work.catch(error => { failed.push(error); stop(); })));
  if (failed.length) throw failed[0];
}

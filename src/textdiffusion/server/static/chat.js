// The tab Chat: turns, of which the answer settles before one's eyes.
import { Canvas } from "./canvas.js";
import { Settings, element, taskField, whole } from "./form.js";
import { Run, lengthOf } from "./run.js";
import { Trace } from "./trace.js";

const PATH = "v1/chat/completions";

export class Chat {
  constructor(section, page) {
    this.page = page;
    const place = name => section.querySelector(`[data-place=${name}]`), act = name => section.querySelector(`[data-do=${name}]`);
    this.form = section.querySelector("form");
    this.run = new Run(section, page);
    this.settings = new Settings(place("settings"), page.offers);
    this.length = taskField(this.settings.first, { name: "length", label: "length of an answer", placeholder: "as the model reads it, or 64" });
    this.seed = taskField(this.settings.first, { name: "seed", label: "seed", placeholder: "drawn" });
    this.log = place("log");
    this.log.dataset.empty = "Nothing was said yet.";
    this.turns = [];
    this.redo = Object.assign(act("redo"), { onclick: () => this.again() });
    this.clears = Object.assign(act("clear"), { onclick: () => this.clear() });
    this.form.addEventListener("submit", event => { event.preventDefault(); this.start(); });
    this.text = this.form.elements.text;
    this.text.addEventListener("keydown", event => {
      const sends = event.key === "Enter" && !(event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing);
      if (sends) { event.preventDefault(); this.start(); }
    });
    this.clear();
    if (!page.offers.chats) this.refuse(place("warning"));
  }

  refuse(warning) {
    warning.textContent = `${this.page.offers.model} has no template for conversations, so that it cannot chat; serve a model that was tuned to.`;
    warning.hidden = false;
    this.run.starts.disabled = this.text.disabled = true;
  }

  start() {
    const content = this.text.value.trim();
    if (!content || this.run.running || this.text.disabled) return;
    this.say("user", content).textContent = content;
    this.text.value = "";
    this.answer();
  }

  // The last answer anew; with another seed, where none is set.
  again() {
    if (this.run.running) return;
    if (this.turns.at(-1)?.role === "assistant") this.turns.pop().box.remove();
    if (this.turns.length) this.answer();
  }

  answer() {
    this.page.attempt(async () => {
      const system = this.form.elements.system.value.trim();
      const messages = this.turns.map(({ role, content }) => ({ role, content }));
      if (system) messages.unshift({ role: "system", content: system });
      const body = {
        ...this.settings.values, messages, seed: whole(this.seed, "seed"), max_tokens: lengthOf(this.length),
      };
      await this.follow(body);
    });
  }

  async follow(body) {
    const box = this.say("assistant", ""), turn = this.turns.at(-1);
    const { model, special } = this.page.offers;
    const trace = new Trace({ model, sampler: this.settings.sampler.name, special });
    const canvas = new Canvas(box, { label: "The answer as it settles" });
    this.offer(true);
    try {
      await this.run.go(PATH, body, step => {
        trace.add(step);
        canvas.only(i => trace.roles[i] === "editable");
        canvas.show(trace.rows.at(-1));
        this.log.scrollTop = this.log.scrollHeight;
      }, choice => { turn.content += choice.delta.content ?? ""; });
      box.replaceChildren();
      box.textContent = turn.content || "(an empty answer)";
      this.page.announce(turn.content);
    } catch (error) {
      this.turns.pop().box.remove(); // what is not whole is not said
      throw error;
    } finally {
      this.offer(false);
      this.text.focus();
    }
  }

  say(role, content) {
    const box = element("article", { className: `turn ${role}` }, this.log);
    element("h2", { className: "soft small", textContent: role === "user" ? "You" : this.page.offers.model }, box);
    const said = element("div", { className: "said", dir: "auto" }, box);
    this.turns.push({ role, content, box });
    this.log.classList.remove("empty");
    this.log.scrollTop = this.log.scrollHeight;
    return said;
  }

  offer(running) {
    this.redo.disabled = this.clears.disabled = running || !this.turns.length;
  }

  clear() {
    if (this.run.running) return;
    this.turns = [];
    this.log.replaceChildren();
    this.log.classList.add("empty");
    this.offer(false);
  }

  step() { /* the steps of an answer are not kept */ }
  stop() { return this.run.stop(); }
}

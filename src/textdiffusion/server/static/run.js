// One text from the server: the buttons that start and stop it, and what it is asked for.
import { taskField, whole } from "./form.js";
import { events } from "./stream.js";

const ALTERNATIVES = 5; // likely tokens of each place that a tip shows

export class Run {
  constructor(section, page) {
    this.page = page;
    this.starts = section.querySelector("[data-do=run]");
    this.stops = section.querySelector("[data-do=stop]");
    this.stops.onclick = () => this.stop();
    this.abort = null;
  }

  get running() { return this.abort !== null; }

  // Several questions are one run: `work` is called with the signal that stops all of them.
  async together(work) {
    this.page.clearError();
    this.abort = new AbortController();
    this.starts.disabled = true;
    this.stops.disabled = false;
    try {
      await work(this.abort.signal);
    } finally {
      this.abort = null;
      this.starts.disabled = false;
      this.stops.disabled = true;
    }
  }

  go(path, body, step, message) {
    return this.together(signal => streamed(path, body, signal, step, message));
  }

  stop() {
    const was = this.running;
    this.abort?.abort();
    return was;
  }
}

// Hands over the steps of a text, and the pieces of what is finished.
export async function streamed(path, body, signal, step, message = () => {}) {
  const asked = { ...withoutNull(body), stream_steps: true, alternatives: ALTERNATIVES };
  for await (const { kind, data } of events(path, asked, signal)) {
    if (kind === "step") step(data);
    else message(data.choices[0]);
  }
}

export function lengthField(parent, offers) {
  const about = offers.reads_length ? "New tokens; auto for as many as the model expects." : "New tokens.";
  return taskField(parent, { name: "length", label: "length", inputMode: "text", placeholder: `what fits (${offers.longest})`, about });
}

export function lengthOf(input) {
  return input.value.trim() === "auto" ? "auto" : whole(input, "length");
}

// A text with holes is filled, any other goes on.
export function requestOf(offers, text, length, body) {
  if (new RegExp(offers.hole).test(text)) return { path: "v1/fill", body: { ...body, text } };
  return { path: "v1/completions", body: { ...body, prompt: text, max_tokens: length, echo: true } };
}

function withoutNull(body) {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

// Fields for the settings of a generation, made of what the server says there is; empty ones are not sent.
const FIRST = ["sampler", "steps", "temperature"]; // the others stand behind "More settings"
const READ = {
  integer: text => Number(text),
  number: text => Number(text),
  string: text => text,
  boolean: text => text === "true",
  array: text => text.split("\n").filter(line => line.trim()),
  object: text => JSON.parse(text),
};

let count = 0;

export class Settings {
  constructor(parent, offers, sampler = null) {
    this.offers = offers;
    this.fields = new Map();
    this.first = group(parent, "fields");
    this.note = element("p", { className: "soft small" }, parent);
    this.own = group(parent, "fields");
    this.more = element("details", {}, parent);
    element("summary", { textContent: "More settings" }, this.more);
    const rest = group(this.more, "fields wide");
    const usual = offers.options.find(option => option.name === "sampler");
    for (const option of offers.options)
      this.add(FIRST.includes(option.name) ? this.first : rest, option, !FIRST.includes(option.name));
    for (const name of FIRST) this.first.append(this.fields.get(name).label);
    const choice = this.fields.get("sampler").input;
    choice.value = sampler ?? usual.default;
    choice.onchange = () => this.change();
    this.change();
    const grid = this.fields.get("schedule");
    grid.input.onchange = () => { grid.about.textContent = this.gridNote(grid); };
  }

  get sampler() { return this.offers.samplers.find(one => one.name === this.fields.get("sampler").input.value); }

  // Another sampler has other settings of its own, and was published with other values of the rest.
  change() {
    const { summary, source, exact, settings, defaults } = this.sampler;
    this.note.textContent = `${summary} (${source}); ${exact}.`;
    for (const child of [...this.own.children]) this.fields.delete(child.dataset.name);
    this.own.replaceChildren();
    for (const option of settings) this.add(this.own, option, true);
    for (const { name, default: value } of this.offers.options) {
      const { input } = this.fields.get(name);
      if (input.tagName !== "SELECT") input.placeholder = shown(value ?? defaults[name] ?? null, input.type === "number");
    }
  }

  gridNote({ option, input }) {
    const found = this.offers.schedules.find(one => one.name === input.value);
    return found ? `${found.summary} (${found.source})` : option.about;
  }

  add(parent, option, explains) {
    const label = element("label", { className: "field" }, parent);
    label.dataset.name = option.name;
    label.append(option.name.replaceAll("_", " "));
    const input = inputOf(option);
    input.name = option.name;
    label.append(input);
    const about = element("small", { id: `about-${++count}`, textContent: option.about, hidden: !explains }, label);
    input.setAttribute("aria-describedby", about.id); // read out where it is hidden, too
    if (!explains) label.title = option.about;
    this.fields.set(option.name, { option, input, label, about });
  }

  // The settings that were given, as a request has them; throws what cannot be read.
  get values() {
    const given = {};
    for (const [name, { option, input }] of this.fields) {
      const text = input.value;
      if (text.trim() === "" && !input.validity.badInput) continue;
      given[name] = read(option, input, text);
    }
    return given;
  }
}

// Fields of the task itself: what every tab asks for beside the settings.
export function taskField(parent, { name, label, about, ...given }) {
  const box = element("label", { className: "field" }, parent);
  box.append(label);
  if (about) box.title = about;
  return element("input", { name, autocomplete: "off", inputMode: "numeric", ...given }, box);
}

export function whole(input, said) {
  const text = input.value.trim();
  if (text === "") return null;
  if (!/^-?\d+$/.test(text)) throw new Error(`${said} is ${text}; give a whole number.`);
  return Number(text);
}

function read(option, input, text) {
  const name = option.name;
  if (input.validity.badInput) throw new Error(`${name} is no number.`);
  try {
    const value = READ[option.kind](text);
    if (option.kind === "integer" && !Number.isInteger(value)) throw new Error();
    return value;
  } catch {
    throw new Error(`${name} cannot be read as ${option.kind}.`);
  }
}

function inputOf(option) {
  if (option.choices) return choice(option.choices, option.name === "sampler" ? null : shown(option.default));
  if (option.kind === "boolean") return choice(["true", "false"], shown(option.default));
  if (option.kind === "array" || option.kind === "object")
    return element("textarea", { rows: 2, placeholder: shown(option.default) });
  const number = option.kind !== "string";
  const placeholder = shown(option.default);
  return element("input", { type: number ? "number" : "text", step: option.kind === "integer" ? 1 : "any", placeholder, autocomplete: "off" });
}

function choice(names, usual) {
  const select = element("select", {});
  if (usual !== null) element("option", { value: "", textContent: usual }, select);
  for (const name of names) element("option", { value: name, textContent: name }, select);
  return select;
}

function shown(value, decided = true) {
  if (value === null || (Array.isArray(value) && !value.length)) return decided ? "as usual" : "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function group(parent, className) { return element("div", { className }, parent); }

export function element(name, given, parent) {
  const made = Object.assign(document.createElement(name), given);
  parent?.append(made);
  return made;
}

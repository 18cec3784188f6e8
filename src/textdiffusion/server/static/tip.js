// What is known of a token, beside it: how sure it was, when it was written, and what else was likely.
const LINGERS = 250; // milliseconds in which the pointer may travel from the token to its tip

export class Tip {
  // `choose(choice)` takes another token, null where none can be taken.
  constructor(parent, choose) {
    this.box = document.createElement("div");
    this.box.className = "tip";
    this.box.hidden = true;
    this.box.setAttribute("role", "group");
    this.box.setAttribute("aria-label", "About this token");
    parent.append(this.box);
    this.choose = choose;
    this.token = null;
    this.box.addEventListener("pointerenter", () => clearTimeout(this.timer));
    this.box.addEventListener("pointerleave", () => this.leave());
    this.box.addEventListener("focusout", event => { if (!this.box.contains(event.relatedTarget)) this.leave(); });
  }

  open(token, cell, { changes }) {
    clearTimeout(this.timer);
    this.token = token;
    this.choices = changes ? cell.choices.filter(choice => choice.id !== null) : [];
    this.box.replaceChildren(said(cell), ...listed(cell, this.choices, choice => this.choose(choice)));
    this.box.hidden = false;
    this.place();
  }

  // Below the token, within the page.
  place() {
    const word = this.token.children[0].getClientRects()[0] ?? this.token.getBoundingClientRect();
    const home = this.box.offsetParent.getBoundingClientRect();
    const right = document.documentElement.clientWidth - this.box.offsetWidth - 8;
    this.box.style.left = `${Math.max(8, Math.min(word.left, right)) - home.left}px`;
    this.box.style.top = `${word.bottom - home.top + 4}px`;
  }

  leave() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.close(), LINGERS);
  }

  close() {
    clearTimeout(this.timer);
    const was = !this.box.hidden;
    if (was && this.box.contains(document.activeElement)) this.token?.focus();
    this.box.hidden = true;
    return was;
  }
}

export function percent(probability) {
  const share = 100 * probability;
  return share > 0 && share < 0.1 ? "< 0.1 %" : `${share.toFixed(1)} %`;
}

function said(cell) {
  const line = document.createElement("p");
  const sure = cell.confidence === null ? "" : `${percent(cell.confidence)} sure, `;
  const states = { prompt: "given", mask: "still noise" };
  line.textContent = states[cell.kind] ?? `${sure}written in step ${cell.since}`;
  return line;
}

function listed(cell, choices, choose) {
  if (!cell.choices.length) return [];
  const list = document.createElement("ol");
  cell.choices.forEach((choice, i) => {
    const item = document.createElement("li"), can = choices.includes(choice) && choice.id !== cell.token;
    const button = document.createElement(can ? "button" : "span");
    if (can) Object.assign(button, { type: "button", onclick: () => choose(choice) });
    const bar = document.createElement("i"), word = document.createElement("b"), share = document.createElement("span");
    bar.style.setProperty("--share", choice.probability);
    word.textContent = shown(choice.piece);
    share.textContent = percent(choice.probability);
    button.append(word, share);
    if (choice.id === cell.token) item.className = "chosen";
    if (can && i < 9) button.setAttribute("aria-keyshortcuts", String(i + 1));
    item.append(button, bar);
    list.append(item);
  });
  return [list];
}

// Space is shown, for there it is all that a token may be.
function shown(piece) {
  return piece === "" ? "end" : piece.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ +$/, spaces => "␣".repeat(spaces.length));
}

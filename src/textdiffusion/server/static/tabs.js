// Tabs by pointer and by arrow keys, as the ARIA pattern for them has it.
export class Tabs {
  constructor(list, changed) {
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    this.changed = changed;
    list.addEventListener("click", event => {
      const tab = event.target.closest("[role=tab]");
      if (tab) this.choose(tab);
    });
    list.addEventListener("keydown", event => this.press(event));
    this.choose(this.tabs.find(tab => `#${this.panelOf(tab).id}` === location.hash) ?? this.tabs[0]);
  }

  get current() { return this.panelOf(this.tabs.find(tab => tab.ariaSelected === "true")).id; }

  panelOf(tab) { return document.getElementById(tab.getAttribute("aria-controls")); }

  choose(chosen) {
    for (const tab of this.tabs) {
      const is = tab === chosen;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      this.panelOf(tab).hidden = !is;
    }
    history.replaceState(null, "", `#${this.current}`);
    this.changed();
  }

  press(event) {
    const at = this.tabs.indexOf(event.target), last = this.tabs.length - 1;
    const moves = { ArrowLeft: at ? at - 1 : last, ArrowRight: at === last ? 0 : at + 1, Home: 0, End: last };
    if (at < 0 || !(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    const tab = this.tabs[moves[event.key]];
    this.choose(tab);
    tab.focus();
  }
}

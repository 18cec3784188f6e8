// The page: asks the server what there is, makes the tabs, and says what goes wrong.
import { Chat } from "./chat.js";
import { Compare } from "./compare.js";
import { Failure, get, key } from "./stream.js";
import { Tabs } from "./tabs.js";
import { Write } from "./write.js";

const KINDS = { write: Write, compare: Compare, chat: Chat };
const $ = id => document.getElementById(id);

const page = {
  offers: null,

  // Do something, and say in one line why it could not be done.
  async attempt(work) {
    this.clearError();
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
  },

  fail(error) {
    if (!(error instanceof Error)) throw error;
    $("error").textContent = error.message;
    $("error").hidden = false;
    $("error").scrollIntoView({ block: "nearest" });
    if (error instanceof Failure && error.status === 401) {
      $("key-form").hidden = false;
      $("key").focus();
    }
  },

  clearError() { $("error").hidden = true; },
  announce(text) { $("announced").textContent = text; },
};

const made = {};
let tabs = null;

async function begin() {
  await page.attempt(async () => {
    page.offers = await get("v1/options");
    $("model").textContent = page.offers.model;
    document.title = `${page.offers.model}, textdiffusion playground`;
    for (const [name, Kind] of Object.entries(KINDS)) made[name] ??= new Kind($(name), page);
    document.body.classList.add("ready");
  });
}

function current() { return made[tabs.current]; }

$("key-form").onsubmit = event => {
  event.preventDefault();
  key.set($("key").value.trim());
  $("key-form").hidden = true;
  if (page.offers) page.clearError();
  else begin();
};

document.addEventListener("keydown", event => {
  const tab = current(), plain = !(event.ctrlKey || event.altKey || event.metaKey || event.shiftKey);
  if (!tab) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) tab.start();
  else if (event.key === "Escape" && plain) tab.stop();
  else if (plain && event.key in ARROWS && !event.target.closest("input, select, textarea, [role=tab], [role=log]"))
    tab.step(ARROWS[event.key]);
  else return;
  event.preventDefault();
});

const ARROWS = { ArrowLeft: -1, ArrowRight: 1 };

tabs = new Tabs(document.querySelector("[role=tablist]"), () => page.clearError());
begin();

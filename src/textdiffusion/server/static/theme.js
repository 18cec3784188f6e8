// Light, dark, or as the system has it; run before the page is drawn, so that it never flashes.
"use strict";
(() => {
  const NAMES = ["system", "light", "dark"], KEPT = "textdiffusion theme", root = document.documentElement;

  function kept() {
    try { return localStorage.getItem(KEPT); } catch { return null; } // a browser may forbid it
  }

  function use(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${name}`;
  }

  let now = NAMES.includes(kept()) ? kept() : "system";
  use(now);
  document.addEventListener("DOMContentLoaded", () => {
    use(now);
    document.getElementById("theme").onclick = () => {
      use(now = NAMES[(NAMES.indexOf(now) + 1) % NAMES.length]);
      try { localStorage.setItem(KEPT, now); } catch { /* it then holds for this visit */ }
    };
  });
})();

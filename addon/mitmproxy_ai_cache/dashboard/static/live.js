// The list of calls follows what happens; keys lead to search and rows. Everything works without this file.
"use strict";
(() => {
  const live = document.getElementById("live");
  let paused = false;
  let wait = 1000;

  function busy() {
    // Who reads or steps through the list with the keyboard is not to lose their place.
    const calls = live.querySelector("[data-part=calls] .scroll");
    const selection = document.getSelection();
    const selects = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    return paused || document.hidden || selects || (calls !== null && calls.contains(document.activeElement));
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = live.querySelector(`[data-part=${part.dataset.part}]`);
      if (old) old.replaceWith(document.adoptNode(part));
    }
    offerPause();
  }

  async function follow() {
    if (!busy()) {
      try {
        const have = live.querySelector("[data-version]").dataset.version;
        const answer = await fetch(`${live.dataset.live}&have=${encodeURIComponent(have)}`);
        if (answer.status === 200) show(await answer.text());
        wait = answer.ok ? 1000 : Math.min(2 * wait, 30000);
      } catch {
        wait = Math.min(2 * wait, 30000); // the proxy is gone, or starts again
      }
    }
    setTimeout(follow, wait);
  }

  function offerPause() {
    const button = live.querySelector("[data-pause]");
    if (!button) return;
    button.hidden = false;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
    button.addEventListener("click", () => {
      paused = !paused;
      offerPause();
    }, { once: true });
  }

  function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
    rows[next].focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Escape" && document.activeElement) document.activeElement.blur();
    else if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) search.focus();
      else location.assign("/entries");
      event.preventDefault();
    }
  });

  if (live) {
    offerPause();
    setTimeout(follow, wait);
  }
})();

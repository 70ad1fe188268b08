// Keeps the page live: asks for its contents again, and changes only what differs, so that focus, selection and scroll
// position stay. Without this script the page is complete, and as old as its last load.
"use strict";
(() => {
  const SECONDS = 2, PATIENCE = 8;
  const view = document.getElementById("view");
  const silent = document.getElementById("silent");
  const pause = document.getElementById("pause");
  let paused = false, asking = false;

  // What is alike stays where it is, since a node that is moved loses focus and selection; only elements with an id whose
  // order has changed are moved. All else is removed or inserted.
  function become(old, fresh) {
    if (old.hasAttribute("data-keep")) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const byId = new Map(), ids = new Set([...fresh.children].map(child => child.id));
    for (const child of [...old.children]) {
      if (ids.has(child.id)) byId.set(child.id, child);
      else if (child.id) child.remove();
    }
    let place = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const found = wanted.id ? byId.get(wanted.id) : nextAlike(place, wanted);
      if (!found) { old.insertBefore(wanted, place); continue; }
      while (place !== found && !place.id) { const next = place.nextSibling; place.remove(); place = next; }
      if (found === place) place = place.nextSibling; else old.insertBefore(found, place);
      if (found.nodeType === Node.ELEMENT_NODE) become(found, wanted);
      else if (found.data !== wanted.data) found.data = wanted.data;
    }
    while (place) { const next = place.nextSibling; place.remove(); place = next; }
  }
  function nextAlike(place, wanted) {
    while (place && (place.id || place.nodeName !== wanted.nodeName)) place = place.nextSibling;
    return place;
  }

  function say(text) {
    if (silent.textContent !== text) silent.textContent = text;
    document.documentElement.classList.toggle("stale", text !== "");
  }
  async function ask() {
    if (asking || paused || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch("fragment", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE * 1000) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      fresh.id = view.id;
      fresh.className = view.className;
      become(view, fresh);
      document.title = view.querySelector("[data-title]").dataset.title;
      say("");
    } catch {
      const since = document.getElementById("rendered");
      say(`The daemon does not answer. What follows is from ${since ? since.textContent : "before"}.`);
    } finally {
      asking = false;
    }
  }
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Continue" : "Pause";
    ask();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  setInterval(ask, SECONDS * 1000);
})();

// Keeps the page as it is on the server. Without this file the page is complete, and reloads itself.
"use strict";

const live = document.getElementById("live");
const word = document.getElementById("live-word");
const announce = document.getElementById("announce");

function show(state, text) {
  live.hidden = false;
  live.dataset.state = state;
  word.textContent = text;
}

// What a part says aloud when it changes: without its signs.
function spoken(part) {
  const says = part.querySelector("[data-announce]")?.cloneNode(true);
  says?.querySelectorAll("[aria-hidden]").forEach((sign) => sign.remove());
  return says?.textContent;
}

// Replaces what differs and nothing else, so that focus, selection and scrolling stay where they are.
function take(fresh) {
  const news = new Set();
  const name = (element) => element.getAttribute("href") ?? element.dataset.copy ?? element.textContent;
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const shown = document.getElementById(part.id);
    if (!shown || (shown.innerHTML === part.innerHTML && shown.className === part.className)) continue;
    const focused = shown.contains(document.activeElement) ? document.activeElement : null;
    const target = focused && [focused.tagName, name(focused)];
    const said = spoken(shown);
    const scrolled = shown.querySelector(".scroll")?.scrollLeft ?? 0;
    shown.className = part.className;
    shown.replaceChildren(...document.adoptNode(part).childNodes);
    const scroll = shown.querySelector(".scroll");
    if (scroll) scroll.scrollLeft = scrolled;
    if (target) [...shown.querySelectorAll(target[0])].find((same) => name(same) === target[1])?.focus({ preventScroll: true });
    const says = spoken(shown);
    if (says && says !== said) news.add(says);
  }
  if (news.size) announce.textContent = [...news].join(". ");
  document.title = fresh.title;
}

let running = false;
let again = false;

async function refresh() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  try {
    do {
      again = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } while (again);
  } catch {
    show("lost", "connection lost");
  } finally {
    running = false;
  }
}

const changes = new EventSource("/api/v1/stream");
changes.addEventListener("open", () => show("live", "live"));
changes.addEventListener("error", () => show("lost", "connection lost"));
changes.addEventListener("change", refresh);
// Where a browser lets pages copy: on localhost, and behind TLS.
if (navigator.clipboard) document.documentElement.classList.add("copies");
addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = "";
    announce.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
  }
});
// A browser lets go of streams of pages that it has put away.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
// "/" leads to the search, as people are used to.
addEventListener("keydown", (event) => {
  const search = document.getElementById("q");
  if (event.key !== "/" || !search || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  search.focus();
});

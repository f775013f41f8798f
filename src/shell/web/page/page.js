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
    if (target) [...shown.querySelectorAll(target[0])].find((same) => name(same) === target[1] && same.checkVisibility())?.focus({ preventScroll: true });
    const says = spoken(shown);
    if (says && says !== said) news.add(says);
  }
  if (news.size) announce.textContent = [...news].join(". ");
  document.title = fresh.title;
  told();
}

// "3 min ago" grows older.
function told() {
  const now = Date.now() / 1000;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = Math.max(0, Math.floor(now - Date.parse(time.dateTime) / 1000));
    if (Number.isNaN(seconds)) continue;
    time.textContent = seconds < 5 ? "just now" : seconds < 90 ? `${seconds} s ago` : seconds < 5400 ? `${Math.floor(seconds / 60)} min ago`
      : seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} days ago`;
  }
}
setInterval(told, 10000);

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
      // What servers were asked is asked again by whoever wants to know it.
      const address = new URL(location.href);
      address.searchParams.delete("look");
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
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

// Among cells, the arrow keys lead on: a thousand of them are no thousand stops of the Tab key.
addEventListener("keydown", (event) => {
  const at = document.activeElement;
  if (!at?.matches(".tp a") || !/^Arrow|^Home$|^End$/.test(event.key)) return;
  const all = [...at.closest("svg").querySelectorAll("a")];
  const place = (it) => it.getBoundingClientRect();
  const from = place(at);
  let next = null;
  if (event.key === "Home" || event.key === "End") next = event.key === "Home" ? all[0] : all.at(-1);
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") next = all[all.indexOf(at) + (event.key === "ArrowRight" ? 1 : -1)];
  else {
    const down = event.key === "ArrowDown" ? 1 : -1;
    let least = Infinity;
    for (const it of all) {
      const to = place(it);
      const below = (to.top + to.bottom - from.top - from.bottom) / 2 * down;
      if (below < 8) continue;
      const far = below * 3 + Math.abs(to.left - from.left);
      if (far < least) [least, next] = [far, it];
    }
  }
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({ block: "nearest" });
});

// The newest lines of a log are its last.
for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;

// What is asked for is asked for in a dialog, with the token, and typed where it takes something away.
document.documentElement.classList.add("scripted");
const dialog = document.getElementById("act");
const part = (name) => document.getElementById(`act-${name}`);
let asked = null;
function ready() {
  const typed = !asked.dataset.confirm || part("confirm").value === asked.dataset.confirm;
  part("go").disabled = !typed || !(sessionStorage.getItem("token") || part("token").value.trim());
}
addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button) return;
  asked = button;
  part("head").textContent = button.firstChild.textContent;
  part("says").textContent = button.dataset.says;
  part("word").textContent = button.dataset.confirm;
  part("confirm-line").hidden = !button.dataset.confirm;
  part("token-line").hidden = Boolean(sessionStorage.getItem("token"));
  part("confirm").value = part("token").value = part("error").textContent = "";
  part("go").textContent = button.firstChild.textContent;
  ready();
  dialog.showModal();
});
dialog.addEventListener("input", ready);
dialog.addEventListener("close", () => asked?.isConnected && asked.focus());
async function act() {
  if (part("go").disabled) return;
  part("go").disabled = true;
  const token = sessionStorage.getItem("token") || part("token").value.trim();
  let path = asked.dataset.act;
  const headers = { Authorization: `Bearer ${token}` };
  const request = { method: "POST", headers };
  if (path.endsWith("/reconcile")) {
    if (asked.dataset.body) path += `?server=${encodeURIComponent(asked.dataset.body)}`;
  } else {
    headers["Content-Type"] = "application/json";
    request.body = asked.dataset.body;
  }
  try {
    const answer = await fetch(path, request);
    if (answer.ok) {
      sessionStorage.setItem("token", token);
      announce.textContent = "It is asked for";
      dialog.close();
      return;
    }
    if (answer.status === 401) sessionStorage.removeItem("token");
    part("token-line").hidden = Boolean(sessionStorage.getItem("token"));
    part("error").textContent = (await answer.json()).message;
  } catch {
    part("error").textContent = "The controller does not answer.";
  }
  ready();
}
part("go").addEventListener("click", act);
dialog.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault();
  act();
});

// Brings a group's page up to date by itself, and lets users be dragged to another Sub ID.
// The page works without it: every change is a form.
"use strict";

function follow(members) {
  const pulse = document.getElementById("pulse");
  const source = new EventSource(members.dataset.events);
  source.onopen = () => show(pulse, true);
  source.onerror = () => show(pulse, false);
  source.addEventListener("ended", () => { source.close(); location.assign("/login"); });
  source.onmessage = (event) => {
    const { shape, texts } = JSON.parse(event.data);
    if (shape === document.getElementById("members").dataset.shape) setTexts(texts);
    else rebuild();
  };
}

function show(pulse, up) {
  pulse.hidden = false;
  pulse.classList.toggle("lost", !up);
  pulse.textContent = up ? "live" : "connecting …";
}

function setTexts(texts) {
  for (const element of document.querySelectorAll("[data-live]")) {
    const [text, state] = texts[element.dataset.live] ?? [element.textContent, element.dataset.state];
    const user = element.closest("[data-user]");
    if (user && element.classList.contains("state") && state !== element.dataset.state) {
      document.getElementById("announcer").textContent = `${user.dataset.user}: ${text}`;
    }
    if (element.textContent !== text) element.textContent = text;
    element.dataset.state = state;
  }
}

// Somebody has moved, come or gone: takes the list from a fresh page, and keeps what is being done.
let rebuilding = false;
async function rebuild() {
  if (rebuilding) return;
  rebuilding = true;
  try {
    const answer = await fetch(location.pathname.replace(/(\/groups\/\d+).*/, "$1"),
      { headers: { "x-by-itself": "1" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const members = fresh.getElementById("members");
    if (!members) { location.assign("/login"); return; }
    const old = document.getElementById("members");
    if (old.querySelector(".dragged")) return;
    const kept = keep(old);
    old.replaceWith(members);
    restore(members, kept);
    makeDraggable(members);
  } catch { /* the stream comes again, and with it the next try */ } finally {
    rebuilding = false;
  }
}

function keep(members) {
  const fields = [...members.querySelectorAll("input[id]")].map((field) => [field.id, field.value]);
  const chosen = [...members.querySelectorAll("select[id]")]
    .filter((field) => ![...field.options].some((option) => option.selected && option.defaultSelected))
    .map((field) => [field.id, field.value]);
  const open = [...members.querySelectorAll("details[open] > summary")].map((summary) => summary.id);
  const focus = members.contains(document.activeElement) ? document.activeElement.id : "";
  return { fields: [...fields, ...chosen], open, focus };
}

function restore(members, { fields, open, focus }) {
  for (const [id, value] of fields) {
    const field = document.getElementById(id);
    if (field) field.value = value;
  }
  for (const id of open) document.getElementById(id)?.parentElement.setAttribute("open", "");
  if (focus) document.getElementById(focus)?.focus();
}

function makeDraggable(members) {
  let dragged = null;
  const fresh = document.getElementById("new-lane");
  for (const user of members.querySelectorAll(".user")) {
    const grip = user.querySelector(".grip");
    grip.hidden = false;
    grip.draggable = true;
    grip.addEventListener("dragstart", (event) => {
      dragged = user;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", user.dataset.user);
      event.dataTransfer.setDragImage(user, 12, 12);
      user.classList.add("dragged");
      setTimeout(() => { fresh.hidden = false; });
    });
    grip.addEventListener("dragend", () => {
      user.classList.remove("dragged");
      fresh.hidden = true;
      dragged = null;
    });
  }
  for (const lane of members.querySelectorAll(".lane")) {
    const accepts = () => dragged && dragged.closest(".lane") !== lane;
    lane.addEventListener("dragover", (event) => {
      if (!accepts()) return;
      event.preventDefault();
      lane.classList.add("target");
    });
    lane.addEventListener("dragleave", (event) => {
      if (!lane.contains(event.relatedTarget)) lane.classList.remove("target");
    });
    lane.addEventListener("drop", (event) => {
      if (!accepts()) return;
      event.preventDefault();
      const form = dragged.querySelector("form.move");
      form.elements.sub_id.value = lane.dataset.subId;
      form.requestSubmit();
    });
  }
}

const members = document.getElementById("members");
if (members) {
  makeDraggable(members);
  follow(members);
}
document.getElementById("notice")?.focus({ preventScroll: true });

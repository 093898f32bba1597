"use strict";
// Makes the question page quick: one key answers, the next question is here already, and an answer that cannot be sent
// waits in this browser until the server is back. Without this file the page works as plain forms.
(() => {
  const $ = (id) => document.getElementById(id);
  const form = $("answer");
  const run = form.dataset.run;
  const BOX = `discover-outbox-${run}`; // another run may be served here one day
  const me = document.querySelector(".who bdi").textContent;
  const labels = [...form.querySelectorAll(".labels :is([name=label], [data-type])")]; // buttons; or boxes to tick, where several labels may fit
  const several = form.querySelector(".choice") !== null;
  const marks = typeof entities === "undefined" ? null : entities; // where entities are marked: spans.js, which has its own keys
  const marked = new Map(); // by slot: what was sent, to go on from when the question comes back
  const done = new Set(); // tokens of what was answered here; an undone question comes back with a new one
  let questions = [];
  let current = null;
  let sending = null;
  let pause = 0;
  let spare = null; // the outbox where the browser keeps nothing, or nothing more: its storage may be full

  const read = () => {
    if (spare) return spare;
    try { return JSON.parse(localStorage.getItem(BOX)) || []; } catch { return []; }
  };
  const write = (entries) => {
    try {
      localStorage.setItem(BOX, JSON.stringify(entries));
      spare = null;
    } catch { spare = entries; /* memory will do */ }
  };

  const mine = () => read().filter((entry) => (entry.by ?? me) === me); // another's wait until they are back at this browser

  function show(question) {
    current = question;
    document.body.classList.toggle("pausing", !question);
    if (!question) return;
    for (const name of ["slot", "token", "key"]) form.elements[name].value = question[name];
    for (const name of ["title", "source", "text", "rest", "more"]) $(name).textContent = question[name];
    if (marks) marks.open(question.text, marked.get(question.slot));
    $("title").hidden = !question.title;
    $("all").hidden = !question.rest;
    $("all").open = false;
    document.querySelector("article").scrollTop = 0;
    if (several) for (const box of labels) box.checked = false;
    tick();
  }

  function tick() {
    if (!several) return;
    const ticked = labels.some((box) => box.checked);
    $("save").disabled = !ticked; // nothing ticked may be an accident: that none fits is said by its own button
    $("none").disabled = ticked;
  }

  function turn(waiting) {
    // Hiding a focused element loses the focus, so it is carried along.
    if ($("ask").hidden === waiting) return;
    const inside = $("ask").contains(document.activeElement);
    $("ask").hidden = waiting;
    $("wait").hidden = !waiting;
    if (waiting && inside) $("wait").focus();
    if (!waiting && document.activeElement === $("wait")) document.querySelector("article").focus();
  }

  function take(state, afresh = false) {
    questions = state.questions.filter((question) => !done.has(question.token));
    if (current && !afresh) questions = [current, ...questions.filter((question) => question.slot !== current.slot)];
    if (questions[0] !== current) show(questions[0] || null);
    turn(!current && !mine().length);
    $("bar").value = state.progress.value;
    $("bar").max = state.progress.max;
    const lines = state.sentences.map((sentence) => Object.assign(document.createElement("li"), { textContent: sentence }));
    if (lines.map((line) => line.textContent).join() !== [...$("sentences").children].map((line) => line.textContent).join())
      $("sentences").replaceChildren(...lines);
    $("waiting").textContent = state.waiting;
    $("last").textContent = state.last ? state.last.sentence : "";
    $("undo").hidden = !state.last;
    if (state.last) $("undo").elements.slot.value = state.last.slot;
    explain(state.last ? state.last.why : []);
    if (state.form !== form.dataset.form && $("notice").hidden) notice("The labels have changed since this page was opened: reload it to see them.");
  }

  const make = (tag, text, name = "") => Object.assign(document.createElement(tag), { textContent: text, className: name });

  const style = (level, held) => [level && (level > 0 ? "for" : "against") + Math.abs(level), held && "held"].filter(Boolean).join(" ");
  const drawn = (pieces) => pieces.map(([text, level, held]) => (level || held ? make("mark", text, style(level, held)) : text));

  function because({ label, pieces, neighbours }) {
    const shown = $("reason").content.cloneNode(true);
    shown.querySelector("bdi").textContent = label;
    shown.querySelector(".text").replaceChildren(...drawn(pieces));
    for (const near of neighbours) {
      const item = Object.assign(make("li", ""), { dir: "auto" });
      item.append(make("b", near.label), " ", ...drawn(near.pieces));
      shown.querySelector("ul").append(item);
    }
    return shown;
  }

  function explain(why) {
    $("why").hidden = !why.length;
    $("reasons").replaceChildren(...why.map(because));
  }

  function trouble(message) {
    $("trouble").textContent = message;
    $("trouble").hidden = !message;
  }

  function notice(message) {
    $("notice").textContent = message;
    $("notice").hidden = !message;
  }

  // A browser's own words for an unreachable server differ and help nobody.
  const reason = (error) => (error instanceof TypeError || error.name === "TimeoutError" ? "the server does not answer" : error.message);

  async function call(path, fields) {
    const headers = { Accept: "application/json", "Discover-Run": run, "Discover-Annotator": encodeURIComponent(me) };
    const options = { headers, signal: AbortSignal.timeout(20000) };
    const pairs = Object.entries(fields || {}).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
    if (fields) Object.assign(options, { method: "POST", body: new URLSearchParams(pairs) });
    const reply = await fetch(path, options);
    const json = (reply.headers.get("content-type") || "").includes("json");
    if (json && reply.ok) return { state: await reply.json() };
    if (json && reply.status === 400) return { error: (await reply.json()).error };
    throw new Error(json ? (await reply.json()).error : `the server says ${reply.status}`); // nothing is given up for it
  }

  async function sendAll() {
    for (let entry; (entry = mine()[0]); ) {
      const { path, by, ...fields } = entry;
      const { state, error } = await call(path, fields);
      write(read().filter((other) => other.key !== entry.key));
      trouble(error ? `One answer was refused: ${error}` : "");
      if (state && state.notice) notice(state.notice);
      if (state) take(state);
    }
  }

  function flush() {
    sending ??= sendAll()
      .then(() => { pause = 0; return true; })
      .catch((error) => {
        trouble(`${mine().length} not saved yet: ${reason(error)}. Nothing is lost, trying again.`);
        pause = Math.min(10, pause * 2 || 1);
        setTimeout(flush, pause * 1000);
        return false;
      })
      .finally(() => { sending = null; });
    return sending;
  }

  async function look() {
    if (sending) return;
    if (mine().length) { flush(); return; }
    try {
      const { state, error } = await call("/questions");
      trouble(error || "");
      if (state) take(state);
    } catch (error) {
      trouble(`Nothing new: ${reason(error)}. Trying again.`);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    if (!current || !button) return;
    const { slot, token, key } = current;
    const label = several && button.id === "save" ? labels.filter((box) => box.checked).map((box) => box.value) : button.value;
    const entry = { by: me, path: "/skip", slot, token, key };
    if (button.id !== "skip") Object.assign(entry, { path: "/answer", label });
    done.add(token);
    if (marks && button.id !== "skip") marked.set(slot, label);
    notice("");
    write([...read(), entry]);
    button.classList.add("taken");
    setTimeout(() => button.classList.remove("taken"), 250);
    questions = questions.slice(1);
    show(questions[0] || null);
    flush();
  });

  form.addEventListener("click", (event) => {
    if (event.detail > 1) event.preventDefault(); // a double click is one answer, not one for the next question too
  });

  $("undo").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("undo").inert) return;
    $("undo").inert = true;
    try {
      if (!(await flush())) return;
      const { state, error } = await call("/undo", { slot: $("undo").elements.slot.value });
      trouble(error || "");
      if (state) take(state, true);
    } catch {
      trouble("Undo did not reach the server: try again.");
    } finally {
      $("undo").inert = false;
    }
  });

  const filter = $("filter");
  const matching = () => labels.filter((one) => !one.closest("label, button").hidden);
  const choose = (one) => (several || marks ? one.click() : form.requestSubmit(one));
  function narrow() {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const one of labels) {
      const shown = one.closest("label, button");
      const text = shown.textContent.toLowerCase();
      shown.hidden = !words.every((word) => text.includes(word));
    }
  }
  filter.addEventListener("input", narrow);
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    if (event.key === "Enter" && filter.value.trim() && !event.repeat && matching().length) choose(matching()[0]);
    filter.value = "";
    narrow();
  });

  const keys = $("shortcuts").querySelector("input");
  function remember() {
    document.body.classList.toggle("without-keys", !keys.checked);
    try { localStorage.setItem("discover-keys", keys.checked ? "on" : "off"); } catch { /* private mode */ }
  }
  try { keys.checked = localStorage.getItem("discover-keys") !== "off"; } catch { /* private mode */ }
  keys.addEventListener("change", remember);
  remember();

  document.addEventListener("keydown", (event) => {
    if (!keys.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const key = event.key.toLowerCase();
    const button = labels.find((label) => label.dataset.key === key);
    if (key === "u" && !$("undo").hidden) $("undo").requestSubmit();
    else if (key === "/" && !$("narrow").hidden) { event.preventDefault(); filter.focus(); }
    else if ($("ask").hidden) return;
    else if (key === "s") form.requestSubmit($("skip"));
    else if (several && key === "0" && !$("none").disabled) form.requestSubmit($("none"));
    else if (several && key === "enter" && !event.target.matches("button, a, summary")) {
      event.preventDefault(); // in a box it would submit the form once more
      if (!$("save").disabled) form.requestSubmit($("save"));
    }
    else if (button && !marks) choose(button);
  });
  form.addEventListener("change", tick);

  $("shortcuts").hidden = false;
  $("narrow").hidden = labels.length <= 12;
  for (const entry of read()) done.add(entry.token);
  setInterval(() => { if ($("ask").hidden || !current) look(); }, 3000);
  setInterval(() => { if (!document.hidden && current) look(); }, 60000); // renews the lease of what is on the screen
  window.addEventListener("online", look);
  const { slot, token, key } = form.elements;
  if (token.value && !done.has(token.value)) current = { slot: Number(slot.value), token: token.value, key: key.value };
  else show(null);
  tick();
  look();
})();

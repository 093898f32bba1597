"use strict";
// Marks entities in the text: words are selected by the mouse or by arrow keys, a type makes them an entity. Here spans
// count UTF-16 units, as the browser does; what is sent, and what comes, counts characters (code points).
const entities = (() => {
  const $ = (id) => document.getElementById(id);
  const box = $("text");
  const article = document.querySelector("article");
  const form = $("answer");
  const types = [...form.querySelectorAll("[data-type]")];
  const HOW = "Drag over words or double-click one, or go through them with ← and → (with Shift: more of them). Then choose a type.";
  const FULL = 60000; // bytes of a form that the server takes, and a little less
  let text = "";
  let spans = []; // {start, end, label}, by start
  let words = []; // [start, end] of each word or sign
  let chosen = null; // [start, end] of what is selected
  let at = [-1, -1]; // the word that the selection began with, and the one that it has come to

  const quoted = ([start, end]) => `“${end - start > 60 ? `${text.slice(start, start + 60)}…` : text.slice(start, end)}”`;
  const say = (message) => { if ($("marked").textContent !== message) $("marked").textContent = message; };
  const tell = () => say(chosen ? `Selected: ${quoted(chosen)}` : HOW);

  function wordsOf(all) {
    if (!Intl.Segmenter) return [...all.matchAll(/\S+/g)].map((found) => [found.index, found.index + found[0].length]);
    const pieces = new Intl.Segmenter(undefined, { granularity: "word" }).segment(all);
    return [...pieces].filter((one) => one.segment.trim()).map((one) => [one.index, one.index + one.segment.length]);
  }

  // From characters to units and back: `places` ascend, so that one walk over the text will do.
  function converted(places, toUnits) {
    const found = [];
    let characters = 0;
    let units = 0;
    for (const character of text) {
      while (found.length < places.length && places[found.length] <= (toUnits ? characters : units))
        found.push(toUnits ? units : characters);
      characters += 1;
      units += character.length;
    }
    while (found.length < places.length) found.push(toUnits ? units : characters);
    return found;
  }

  function moved(list, toUnits) {
    const bounds = converted(list.flatMap(({ start, end }) => [start, end]), toUnits);
    return list.map(({ label }, i) => ({ start: bounds[2 * i], end: bounds[2 * i + 1], label }));
  }

  function open(shown, given = "[]") {
    text = shown;
    words = wordsOf(text);
    chosen = null;
    at = [-1, -1];
    spans = moved(JSON.parse(given), true);
    article.setAttribute("aria-live", "polite");
    draw();
    tell();
  }

  function draw() {
    const nodes = [];
    let from = 0;
    for (const span of spans) {
      nodes.push(text.slice(from, span.start), marked(span));
      from = span.end;
    }
    box.replaceChildren(...nodes, text.slice(from));
    box.normalize();
    const value = JSON.stringify(moved(spans, false));
    $("save").value = value;
    $("save").hidden = false;
    $("save").disabled = !spans.length; // nothing marked may be an accident: that there is none is said by its own button
    $("none").disabled = spans.length > 0;
  }

  function change(list, message) {
    article.setAttribute("aria-live", "off"); // a new text is read out, but not again for each mark
    spans = list;
    chosen = null;
    draw();
    say(message);
  }

  function marked(span) {
    const number = types.findIndex((one) => one.dataset.type === span.label);
    const mark = Object.assign(document.createElement("mark"), { className: number < 0 ? "" : `entity${number % 8}` });
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove" });
    const name = Object.assign(document.createElement("bdi"), { textContent: span.label });
    remove.append(name, " ×");
    remove.setAttribute("aria-label", `Remove ${span.label}: ${text.slice(span.start, span.end)}`);
    remove.addEventListener("click", () => drop([span]));
    mark.append(text.slice(span.start, span.end), remove);
    return mark;
  }

  function drop(gone) {
    if (!gone.length) return say("No entity is marked there.");
    const names = gone.map((span) => `${quoted([span.start, span.end])} (${span.label})`);
    change(spans.filter((span) => !gone.includes(span)), `Removed: ${names.join(", ")}`);
    article.focus({ preventScroll: true }); // what had the focus is gone
  }

  function pieces() {
    const outside = (node) => (node.parentElement.closest(".remove") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
    const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT, outside);
    const found = [];
    while (walker.nextNode()) found.push(walker.currentNode);
    return found;
  }

  function selected() {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    let passed = 0;
    let start = -1;
    let end = 0;
    for (const node of pieces()) {
      if (range.intersectsNode(node)) {
        if (start < 0) start = passed + (node === range.startContainer ? range.startOffset : 0);
        end = passed + (node === range.endContainer ? range.endOffset : node.length);
      }
      passed += node.length;
    }
    const half = (place) => place > 0 && text.codePointAt(place - 1) > 0xffff; // inside of a pair of units
    if (half(start)) start -= 1;
    if (half(end)) end += 1;
    while (start < end && !text[start].trim()) start += 1;
    while (start < end && !text[end - 1].trim()) end -= 1;
    return start < 0 || start >= end ? null : [start, end];
  }

  function select([start, end]) {
    const place = (unit, last) => {
      let left = unit;
      for (const node of pieces()) {
        if (left < node.length || (last && left === node.length)) return [node, left];
        left -= node.length;
      }
      return [box, box.childNodes.length];
    };
    getSelection().setBaseAndExtent(...place(start, false), ...place(end, true));
    const seen = article.getBoundingClientRect();
    const { top, bottom } = getSelection().getRangeAt(0).getBoundingClientRect();
    if (top < seen.top || bottom > seen.bottom) article.scrollTop += top - seen.top - seen.height / 3;
  }

  function step(by, more) {
    if (!words.length) return;
    const inside = (number) => Math.max(0, Math.min(words.length - 1, number));
    const begun = at[0] >= 0;
    const to = begun ? inside(at[1] + by) : by > 0 ? 0 : words.length - 1;
    at = more && begun ? [at[0], to] : [to, to];
    chosen = [words[Math.min(...at)][0], words[Math.max(...at)][1]];
    select(chosen);
    tell();
  }

  function take(label) {
    if (!chosen) return say(`Nothing is selected. ${HOW}`);
    const [start, end] = chosen;
    const same = spans.find((span) => span.start === start && span.end === end);
    const other = spans.find((span) => span !== same && span.start < end && start < span.end);
    if (other) return say(`${quoted([other.start, other.end])} is marked already, and entities cannot overlap: remove it first.`);
    const grown = [...spans.filter((span) => span !== same), { start, end, label }].sort((a, b) => a.start - b.start);
    if (new URLSearchParams({ label: JSON.stringify(grown) }).toString().length > FULL)
      return say("One answer holds no more entities than these: save it, or skip the question.");
    change(grown, `Marked: ${quoted([start, end])} (${label})`);
    getSelection().removeAllRanges();
  }

  document.addEventListener("selectionchange", () => {
    if (document.activeElement.matches("input:not([type=checkbox])")) return; // looking for a type leaves the words selected
    const found = selected();
    if (String(found) === String(chosen)) return;
    chosen = found;
    if (found) {
      const touched = words.flatMap(([start, end], number) => (start < found[1] && found[0] < end ? [number] : []));
      at = [touched[0], touched[touched.length - 1]];
    }
    tell();
  });

  for (const button of types) {
    button.addEventListener("mousedown", (event) => event.preventDefault()); // the words stay selected
    button.addEventListener("click", (event) => { if (event.detail < 2) take(button.dataset.type); });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("ask").hidden) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      const forward = getComputedStyle(box).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
      step(event.key === forward ? 1 : -1, event.shiftKey);
      return;
    }
    if (event.repeat) return;
    const key = event.key.toLowerCase();
    if ((key === "delete" || key === "backspace") && chosen) {
      event.preventDefault();
      drop(spans.filter((span) => span.start < chosen[1] && chosen[0] < span.end));
    }
    if (document.body.classList.contains("without-keys")) return;
    const type = types.find((one) => one.dataset.key === key);
    if (type) take(type.dataset.type);
    else if (key === "0" && !$("none").disabled) form.requestSubmit($("none"));
    else if (key === "enter" && !$("save").disabled && !event.target.matches("button, a, summary")) {
      event.preventDefault();
      form.requestSubmit($("save"));
    }
  });

  open(box.textContent, box.dataset.spans);
  return { open };
})();

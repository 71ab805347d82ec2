// The script of the dashboard. Every page works without it; with it pages are live and actions do not leave them.
// @ts-check
"use strict";

(() => {
  const THEME = "ostler-theme";
  const THEMES = ["auto", "light", "dark"];
  const POLL_MS = 5000;
  const RETRY_MS = [500, 1000, 2000, 4000, 8000];
  const SILENCE_MS = 40000;

  const root = document.documentElement;
  const theme = () => (read(THEME) || "auto");
  if (theme() !== "auto") root.dataset.theme = theme();

  /** @param {string} key */
  function read(key) { try { return localStorage.getItem(key); } catch { return null; } }
  /** @param {string} key @param {string} value */
  function keep(key, value) { try { localStorage.setItem(key, value); } catch { /* a browser that keeps nothing */ } }

  // ---- time: elapsed and remaining times move by themselves, on the clock of the hub ----
  let skew = 0;
  const now = () => Date.now() + skew;

  /** A duration in at most two units, as the server writes it. @param {number} ms */
  function span(ms) {
    const s = Math.max(0, ms / 1000);
    if (s < 10) return `${s.toFixed(1)} s`;
    for (const [size, unit, rest, restUnit] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
      if (s >= Number(size)) {
        const more = Math.floor((Math.floor(s) % Number(size)) / Number(rest));
        return `${Math.floor(s / Number(size))} ${unit}` + (more ? ` ${more} ${restUnit}` : "");
      }
    }
    return `${Math.floor(s)} s`;
  }

  /** @param {number} ms */
  function clock(ms) {
    const at = new Date(ms);
    const today = at.toDateString() === new Date(now()).toDateString();
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    return today ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${time.slice(0, 5)}`;
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-since], time[data-until], time[data-at]")) {
      const { since, until, at } = /** @type {HTMLElement} */ (element).dataset;
      const text = since ? span(now() - Number(since)) : until ? span(Number(until) - now()) : clock(Number(at));
      if (element.textContent !== text) element.textContent = text;
    }
  }

  // ---- morphing: what the server sent becomes what is shown, and what a person is doing there is left alone ----
  /** @param {Element} element */
  const keyOf = (element) => element.id || null;

  /** @param {Element} shown @param {Element} sent */
  function morph(shown, sent) {
    if (shown.isEqualNode(sent)) return;
    for (const { name } of [...shown.attributes]) {
      if (!sent.hasAttribute(name) && !isPersons(shown, name)) shown.removeAttribute(name);
    }
    for (const { name, value } of [...sent.attributes]) {
      if (shown.getAttribute(name) !== value && !isPersons(shown, name)) shown.setAttribute(name, value);
    }
    if (shown === document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(shown.tagName)) return;
    morphChildren(shown, sent);
  }

  /** What belongs to whoever looks: what is open, what is typed, where the keys are. @param {Element} element @param {string} name */
  function isPersons(element, name) {
    return (name === "open" && element.tagName === "DETAILS") || (name === "value" && element === document.activeElement);
  }

  /** Nodes that stay are never moved: a moved one would lose the focus. What is not wanted any more goes first.
   * @param {Element} shown @param {Element} sent */
  function morphChildren(shown, sent) {
    const wantedNodes = [...sent.childNodes];
    const keyed = new Map([...shown.children].filter(keyOf).map((child) => [keyOf(child), child]));
    let place = shown.firstChild;
    wantedNodes.forEach((wanted, index) => {
      const key = wanted instanceof Element ? keyOf(wanted) : null;
      const known = key ? keyed.get(key) : null;
      while (place && place !== known && !(!key && fits(place, wanted)) && !isWanted(place, wantedNodes.slice(index + 1))) {
        const next = place.nextSibling;
        place.remove();
        place = next;
      }
      const match = known ?? (!key && place && fits(place, wanted) ? place : null);
      if (!match) {
        shown.insertBefore(wanted, place);
        return;
      }
      if (match !== place) shown.insertBefore(match, place);
      place = match.nextSibling;
      if (match instanceof Element && wanted instanceof Element) morph(match, wanted);
      else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
    });
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  /** Whether a node without a key may become another one. @param {Node} shown @param {Node} wanted */
  function fits(shown, wanted) {
    return shown.nodeName === wanted.nodeName && !(shown instanceof Element && keyOf(shown));
  }

  /** Whether a node is wanted later on. @param {Node} shown @param {Node[]} later */
  function isWanted(shown, later) {
    if (!(shown instanceof Element)) return false;
    const key = keyOf(shown);
    return later.some((one) => one instanceof Element && (key ? keyOf(one) === key : !keyOf(one) && fits(shown, one)));
  }

  /** @param {{name: string, mark: string, text: string}} region */
  function show(region) {
    const shown = document.getElementById(region.name);
    if (!shown) return;
    const holder = document.createElement("template");
    holder.innerHTML = region.text;
    const sent = document.createElement("div");
    sent.append(holder.content);
    for (const time of sent.querySelectorAll("time[data-at]")) time.textContent = clock(Number(/** @type {HTMLElement} */ (time).dataset.at));
    morphChildren(shown, sent);
    shown.dataset.mark = region.mark;
    tick();
  }

  // ---- live: server-sent events; while they cannot be had, questions every few seconds ----
  let failures = 0;
  /** @type {EventSource | null} */
  let source = null;
  let heardAt = 0;
  let polling = 0;
  let retry = 0;

  const known = () => [...document.querySelectorAll("[data-mark]")]
    .map((element) => `${element.id}:${/** @type {HTMLElement} */ (element).dataset.mark}`).join(",");
  const about = () => `page=${encodeURIComponent(document.body.dataset.page + location.search)}&known=${encodeURIComponent(known())}`;

  /** @param {string} state @param {string} words */
  function pulse(state, words) {
    const element = document.getElementById("pulse");
    if (!element || element.dataset.pulse === state) return;
    element.dataset.pulse = state;
    const said = element.querySelector("span");
    if (said) said.textContent = words;
  }

  function listen() {
    window.clearTimeout(retry);
    source?.close();
    if (document.hidden) return;
    source = new EventSource(`${document.body.dataset.root}live?${about()}`);
    heardAt = Date.now();
    source.addEventListener("open", () => {
      failures = 0;
      stopPolling();
      heardAt = Date.now();
      pulse("live", "live");
    });
    source.addEventListener("region", (event) => {
      heardAt = Date.now();
      show(JSON.parse(/** @type {MessageEvent} */ (event).data));
    });
    source.addEventListener("beat", () => { heardAt = Date.now(); });
    source.addEventListener("signed-out", () => location.reload());
    source.addEventListener("closing", again);
    source.addEventListener("trouble", again);
    source.addEventListener("error", again);
  }

  function again() {
    if (!source) return;
    source.close();
    source = null;
    failures += 1;
    if (failures > 1) {
      pulse("lost", "connection lost, trying again");
      startPolling();
    }
    retry = window.setTimeout(listen, RETRY_MS[Math.min(failures - 1, RETRY_MS.length - 1)]);
  }

  // A page that nobody sees holds no connection: browsers allow only a few to one place, over all their tabs.
  function seen() {
    if (!document.hidden) {
      if (!source) listen();
      return;
    }
    window.clearTimeout(retry);
    source?.close();
    source = null;
    stopPolling();
    pulse("still", "as it was");
  }

  function startPolling() {
    if (!polling) polling = window.setInterval(poll, POLL_MS);
  }
  function stopPolling() {
    window.clearInterval(polling);
    polling = 0;
  }

  async function poll() {
    try {
      const answer = await fetch(`${document.body.dataset.root}live.json?${about()}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) return;
      for (const region of (await answer.json()).regions) show(region);
      if (source?.readyState !== EventSource.OPEN) pulse("polling", "every few seconds");
    } catch {
      pulse("lost", "connection lost, trying again");
    }
  }

  // ---- actions ----
  /** @param {string} words @param {string} [more] @param {boolean} [bad] */
  function toast(words, more, bad) {
    const box = document.createElement("div");
    box.className = bad ? "toast bad" : "toast";
    for (const line of [words, more]) {
      if (!line) continue;
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      box.append(paragraph);
    }
    document.getElementById("toasts")?.append(box);
    setTimeout(() => box.remove(), bad ? 9000 : 5000);
  }

  /** @param {{question: string, consequence: string, label: string}} asked */
  function confirmed(asked) {
    const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("confirm"));
    /** @type {any} */ (document.getElementById("confirm-question")).textContent = asked.question;
    /** @type {any} */ (document.getElementById("confirm-consequence")).textContent = asked.consequence;
    /** @type {any} */ (document.getElementById("confirm-yes")).textContent = asked.label;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
  }

  /** @param {HTMLFormElement} form */
  async function act(form) {
    const fields = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    const button = form.querySelector("button");
    button?.setAttribute("aria-busy", "true");
    try {
      let answer = await send(form.action, fields);
      if (answer.ask) {
        if (!await confirmed(answer.ask)) return;
        fields.set("sure", "yes");
        answer = await send(form.action, fields);
      }
      const wrong = answer.error;
      if (wrong) toast(wrong.message ?? wrong, wrong.remedy ?? answer.remedy, true);
      else if (answer.path) location.href = document.body.dataset.root + answer.path;
      else {
        form.closest("details.menu")?.removeAttribute("open");
        form.reset();
        toast(answer.said);
        void poll();
      }
    } catch {
      toast("the hub does not answer", "nothing was changed, or it is not known; look again when the page is live", true);
    } finally {
      button?.removeAttribute("aria-busy");
      if (button?.isConnected) button.focus();
    }
  }

  /** @param {string} path @param {URLSearchParams} fields */
  async function send(path, fields) {
    const answer = await fetch(path, { method: "POST", body: fields, headers: { Accept: "application/json" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") location.reload();
    return answer.json();
  }

  // ---- keys ----
  let going = 0;
  /** @param {number} step */
  function move(step) {
    const rows = [...document.querySelectorAll(".row")];
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step))];
    for (const other of rows) other.classList.toggle("at", other === row);
    const link = /** @type {HTMLElement | null} */ (row.querySelector(".what a"));
    link?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function traces() {
    const all = [...document.querySelectorAll("details.route")];
    const open = all.some((one) => !one.hasAttribute("open"));
    for (const one of all) one.toggleAttribute("open", open);
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.closest("input, textarea, select")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (Date.now() - going < 1500) {
      going = 0;
      const link = /** @type {HTMLElement | null} */ (document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`));
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const search = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-search]"));
    const done = {
      "g": () => { going = Date.now(); },
      "/": () => search?.focus(),
      "j": () => move(1),
      "k": () => move(-1),
      "e": traces,
      "n": () => { location.href = `${document.body.dataset.root}new`; },
      "?": () => help(),
      "Escape": () => { for (const menu of document.querySelectorAll("details.menu[open]")) menu.removeAttribute("open"); },
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  }

  function help() {
    /** @type {HTMLDialogElement | null} */ (document.getElementById("help"))?.showModal();
  }

  function themeButton() {
    const button = /** @type {HTMLElement | null} */ (document.querySelector("[data-theme-button]"));
    if (!button) return;
    const name = () => { const said = button.querySelector("span"); if (said) said.textContent = `Theme: ${theme()}`; };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
      keep(THEME, next);
      if (next === "auto") delete root.dataset.theme;
      else root.dataset.theme = next;
      name();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    skew = Number(document.body.dataset.now) - Date.now();
    tick();
    setInterval(tick, 1000);
    themeButton();
    const keys = /** @type {HTMLElement | null} */ (document.querySelector("[data-help]"));
    if (keys) { keys.hidden = false; keys.addEventListener("click", help); }
    document.addEventListener("keydown", key);
    document.addEventListener("submit", (event) => {
      const form = /** @type {HTMLFormElement} */ (event.target);
      if (!form.matches("[data-act]")) return;
      event.preventDefault();
      void act(form);
    });
    document.addEventListener("click", (event) => {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        if (!menu.contains(/** @type {Node} */ (event.target))) menu.removeAttribute("open");
      }
    });
    if (!("livePage" in document.body.dataset)) return;
    listen();
    document.addEventListener("visibilitychange", seen);
    setInterval(() => { if (source?.readyState === EventSource.OPEN && Date.now() - heardAt > SILENCE_MS) again(); }, POLL_MS);
  });
})();

// Ages that run, the keys, and a console that does not answer. Everything is bound to the document: htmx swaps what is inside it.
"use strict";
(() => {
  let ahead = 0; // seconds that the server's clock is ahead of this one
  const now = () => Date.now() / 1000 + ahead;

  const pad = (n, unit, m, smaller) => `${n} ${unit} ${m} ${smaller}`;
  function duration(seconds) {
    const s = Math.max(seconds, 0);
    if (s < 10) return `${s.toFixed(1)} s`;
    const whole = Math.floor(s);
    if (whole >= 86400) return pad(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
    if (whole >= 3600) return pad(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
    if (whole >= 60) return pad(Math.floor(whole / 60), "min", whole % 60, "s");
    return `${whole} s`;
  }

  function tick() {
    if (silentSince) return; // what has happened since is not known
    for (const time of document.querySelectorAll("[data-since]")) time.textContent = duration(now() - time.dataset.since);
    for (const time of document.querySelectorAll("[data-until]")) {
      const left = time.dataset.until - now();
      time.textContent = duration(left);
      time.classList.toggle("soon", left < 20);
    }
  }

  // A console that does not answer: a banner, stopped clocks, and the answer kept until it answers again.
  const CHECK_MS = 3000;
  const CHECK_TIMEOUT_MS = 10000;
  const SEND_TIMEOUT_MS = 30000;
  const KEPT = "kept answer";
  let silentSince = null; // of this clock, in milliseconds
  let lost = false; // something other than an answer did not arrive
  let refused = "";
  let checking = false;
  let sending = false;
  const kept = () => JSON.parse(localStorage.getItem(KEPT) ?? "null");
  const officer = () => document.getElementById("main")?.dataset.who;
  const mine = (answer) => answer !== null && answer.officer === officer();

  function showConnection() {
    document.documentElement.classList.toggle("cut-off", silentSince !== null);
    const banner = document.getElementById("cut-off");
    if (!banner) return;
    const texts = [];
    if (silentSince) {
      const time = new Date(silentSince).toLocaleTimeString([], { hour12: false });
      texts.push(`The console does not answer since ${time}. This page shows what was so then, and connects again by itself.`);
    }
    const answer = kept();
    if (mine(answer)) texts.push(`Your answer “${answer.code}” is kept in this browser and is sent when the console answers.`);
    if (lost) texts.push("What you did last has not arrived: do it again then.");
    if (refused) texts.push(refused);
    const text = texts.join(" ");
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = !text;
  }

  async function answers() {
    try {
      const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
      return (await fetch("/static/mark.svg", { method: "HEAD", cache: "no-store", signal })).status < 500;
    } catch {
      return false;
    }
  }

  async function check() {
    if (checking) return;
    checking = true;
    const reached = await answers();
    checking = false;
    const returned = reached && silentSince !== null;
    silentSince = reached ? null : silentSince ?? Date.now();
    if (reached && mine(kept())) await send();
    else if (returned) comeBack();
    showConnection();
    if (reached) tick();
  }

  // The page as it is now; what somebody has typed stays.
  function comeBack() {
    const fields = [...document.querySelectorAll("main input:not([type=hidden])")];
    if (fields.every((field) => field.value === field.defaultValue)) location.reload();
    lost = false;
  }

  function keep(form) {
    const fields = new FormData(form);
    const [lease, code, order] = ["lease", "code", "order"].map((name) => fields.get(name));
    localStorage.setItem(KEPT, JSON.stringify({ officer: officer(), lease, code, order }));
  }

  // The console takes one answer for each lease: one that had arrived before counts once.
  async function send() {
    if (sending) return;
    sending = true;
    try {
      const { lease, code, order } = kept();
      const csrf = document.querySelector("input[name=csrf]").value;
      const response = await fetch("/desk/answer", {
        method: "POST",
        body: new URLSearchParams({ csrf, lease, code, order }),
        headers: { "HX-Request": "true" },
        redirect: "manual",
        signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
      });
      const login = response.headers.get("HX-Redirect");
      if (login) location.assign(login); // and it is sent after that
      else if (response.type === "opaqueredirect") {
        localStorage.removeItem(KEPT);
        location.assign(`/desk?order=${encodeURIComponent(order)}`);
      } else if (response.status < 500) {
        localStorage.removeItem(KEPT);
        refused = `The console has refused your answer “${code}” (${response.status}): load the page again and repeat it.`;
      }
    } catch {
      // It stays until the next check.
    } finally {
      sending = false;
    }
  }

  function failed(event) {
    if (event.detail.elt.id === "answer") keep(event.detail.elt);
    else if (event.detail.requestConfig?.verb !== "get") lost = true;
    showConnection();
    check();
  }
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:timeout", failed);
  document.addEventListener("htmx:sseError", check);
  addEventListener("offline", check);
  setInterval(check, CHECK_MS);

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, elt } = event.detail;
    const away = [502, 503, 504].includes(xhr.status); // what a proxy says while the console is away
    const isPage = target !== document.body && /^\s*<!doctype/i.test(xhr.responseText);
    if (!(away && elt.id === "answer") && !isPage) return;
    event.detail.shouldSwap = false; // the login, or an error, is no part of a page
    if (away) failed(event);
    else location.reload();
  });

  const options = () => [...document.querySelectorAll("#codes li")];
  const shown = () => options().filter((option) => !option.hidden);
  const selected = () => document.querySelector('#codes [aria-selected="true"]');

  function select(option) {
    const code = document.getElementById("code");
    selected()?.setAttribute("aria-selected", "false");
    code.removeAttribute("aria-activedescendant");
    if (!option) return;
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    code.setAttribute("aria-activedescendant", option.id);
  }

  function filter() {
    const text = document.getElementById("code").value.trim().toLowerCase();
    const words = text.split(/\s+/);
    const digits = /^[0-9]+$/.test(text);
    for (const option of options()) {
      const name = option.textContent.toLowerCase();
      const code = option.dataset.code;
      option.hidden = digits ? !code.startsWith(text) : !words.every((word) => name.includes(word));
    }
    document.getElementById("no-code").hidden = shown().length > 0;
    select(text ? shown().find((option) => option.dataset.code === text) ?? shown()[0] : null);
  }

  function choose(step) {
    const all = shown();
    const place = all.indexOf(selected());
    select(all[Math.min(Math.max(place + step, 0), all.length - 1)]);
  }

  document.addEventListener("input", (event) => {
    if (event.target.id === "code") filter();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.id === "code") {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        choose(event.key === "ArrowDown" ? 1 : -1);
        return;
      }
      if (event.key === "Enter" && selected()) event.target.value = selected().dataset.code;
    }
    const typing = event.target.matches?.("input, select, textarea");
    if (typing && event.key !== "Escape") return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const button = [...document.querySelectorAll("button[data-key]")].find((found) => found.dataset.key === key);
    if (button && !button.disabled && !event.repeat) {
      event.preventDefault();
      button.click();
    }
  });

  function fill(value) {
    const code = document.getElementById("code");
    code.value = value;
    filter();
    code.focus();
  }

  document.addEventListener("click", (event) => {
    const option = event.target.closest?.("#codes li, [data-suggested]");
    if (option) fill(option.dataset.code ?? option.dataset.suggested);
  });

  // F4 writes what officers answered before into the field, one code after the other; Enter is still another key.
  document.addEventListener("keydown", (event) => {
    const codes = [...document.querySelectorAll("[data-suggested]")].map((button) => button.dataset.suggested);
    if (event.key !== "F4" || event.altKey || event.ctrlKey || event.repeat || !codes.length) return;
    event.preventDefault();
    fill(codes[(codes.indexOf(document.getElementById("code").value) + 1) % codes.length]);
  });

  // A picture or a map is shown larger around the place that is clicked; F2 does it with both, around the car and the alert.
  function zoom(part, x, y) {
    const inner = part.firstElementChild;
    inner.style.transformOrigin = `${x}px ${y}px`;
    part.classList.toggle("zoomed");
  }
  const middle = (box) => [box.left + box.width / 2, box.top + box.height / 2];
  document.addEventListener("click", (event) => {
    const part = event.target.closest?.(".zoomable");
    if (!part) return;
    const box = part.firstElementChild.getBoundingClientRect();
    zoom(part, event.clientX - box.left, event.clientY - box.top);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "F2" || event.repeat) return;
    for (const part of document.querySelectorAll(".zoomable")) {
      const box = part.firstElementChild.getBoundingClientRect();
      const [x, y] = middle(part.querySelector(".here")?.getBoundingClientRect() ?? box);
      zoom(part, x - box.left, y - box.top);
    }
  });

  document.addEventListener("submit", (event) => {
    // By the button, not by Enter: what is chosen in the list is what is meant.
    const code = event.target.querySelector?.("#code");
    if (code && selected()) code.value = selected().dataset.code;
  }, true);

  // Whoever reads further down stays there when alerts come; htmx itself keeps the focus.
  let read = 0;
  const list = (part) => part.querySelector("#alerts, #commands-list");
  document.addEventListener("htmx:beforeSwap", (event) => (read = list(event.detail.target)?.scrollTop ?? 0));
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target } = event.detail;
    if (["queue", "commands"].includes(target.id) && list(target)) list(target).scrollTop = read;
  });

  function arrived() {
    const main = document.getElementById("main");
    if (main) ahead = Number(main.dataset.now) - Date.now() / 1000;
    tick();
    showConnection();
    if (mine(kept())) check();
  }
  document.addEventListener("DOMContentLoaded", arrived);
  document.addEventListener("htmx:afterSettle", (event) => (event.detail.target === document.body ? arrived() : tick()));
  setInterval(tick, 1000);
})();

// Ages that run, and the keys. Everything is bound to the document: htmx swaps what is inside it.
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
    for (const time of document.querySelectorAll("[data-since]")) time.textContent = duration(now() - time.dataset.since);
    for (const time of document.querySelectorAll("[data-until]")) {
      const left = time.dataset.until - now();
      time.textContent = duration(left);
      time.classList.toggle("soon", left < 20);
    }
  }

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

  document.addEventListener("click", (event) => {
    const option = event.target.closest?.("#codes li");
    if (!option) return;
    document.getElementById("code").value = option.dataset.code;
    filter();
    document.getElementById("code").focus();
  });

  document.addEventListener("submit", (event) => {
    // By the button, not by Enter: what is chosen in the list is what is meant.
    const code = event.target.querySelector?.("#code");
    if (code && selected()) code.value = selected().dataset.code;
  }, true);

  // Whoever reads further down stays there when alerts come; htmx itself keeps the focus.
  let read = 0;
  document.addEventListener("htmx:beforeSwap", () => (read = document.getElementById("alerts")?.scrollTop ?? 0));
  document.addEventListener("htmx:afterSwap", (event) => {
    const list = document.getElementById("alerts");
    if (list && event.detail.target.id === "queue") list.scrollTop = read;
  });

  function arrived() {
    const main = document.getElementById("main");
    if (main) ahead = Number(main.dataset.now) - Date.now() / 1000;
    tick();
  }
  document.addEventListener("DOMContentLoaded", arrived);
  document.addEventListener("htmx:afterSettle", (event) => (event.detail.target === document.body ? arrived() : tick()));
  setInterval(tick, 1000);
})();

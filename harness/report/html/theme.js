"use strict";
// Light, dark or as the system, remembered where the browser allows it.
document.documentElement.classList.add("js");
(() => {
  const names = { system: "as the system", light: "light", dark: "dark" };
  const button = document.getElementById("theme");
  const remember = (name) => { try { localStorage.setItem("theme", name); } catch { /* a page from a file may not */ } };
  const recall = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const show = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${names[name]}`;
    document.dispatchEvent(new Event("themechange"));
  };
  let current = names[recall()] ? recall() : "system";
  button.hidden = false;
  button.addEventListener("click", () => {
    const order = Object.keys(names);
    current = order[(order.indexOf(current) + 1) % order.length];
    remember(current);
    show(current);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(current));
  show(current);

  const open = () => {
    const details = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (details instanceof HTMLDetailsElement) details.open = true;
  };
  addEventListener("hashchange", open);
  open();
})();

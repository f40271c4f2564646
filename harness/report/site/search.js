"use strict";
// Finds the entries of the JSON in this page that hold every word. Names become text, never markup.
(() => {
  const MOST = 100;
  const entries = JSON.parse(document.getElementById("entries").textContent);
  for (const entry of entries) entry.all = [entry.kind, entry.title, entry.text, entry.key].join(" ").toLowerCase();
  const [words, kind, count, found] = ["words", "kind", "count", "found"].map((id) => document.getElementById(id));

  const item = (entry) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = entry.to;
    link.className = "name";
    link.textContent = entry.title;
    const about = document.createElement("span");
    about.className = "does";
    about.textContent = entry.text;
    const what = document.createElement("span");
    what.className = "pale";
    what.textContent = entry.kind;
    line.append(link, " ", what, about);
    return line;
  };

  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = entries.filter((entry) => (!kind.value || entry.kind === kind.value)
      && wanted.every((word) => entry.all.includes(word)));
    found.replaceChildren(...fits.slice(0, MOST).map(item));
    count.textContent = `${fits.length} of ${entries.length}${fits.length > MOST ? `, the first ${MOST} are shown` : ""}`;
  };

  words.value = new URLSearchParams(location.search).get("q") ?? "";
  words.addEventListener("input", show);
  kind.addEventListener("change", show);
  show();
})();

"use strict";
// Tables that sort by a column's head and show the rows that a reader asks for.
for (const table of document.querySelectorAll(".sortable")) {
  const body = table.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...table.querySelectorAll("thead th")];
  const filter = table.querySelector(".filter");
  const judgement = table.querySelector(".judgement");
  const count = table.querySelector(".count");

  const value = (row, column) => row.cells[column].dataset.v;
  const compare = (column, numbers) => (a, b) => numbers
    ? Number(value(a, column)) - Number(value(b, column))
    : value(a, column).localeCompare(value(b, column));

  const sort = (column) => {
    const head = heads[column];
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const order = compare(column, head.dataset.kind === "number");
    const known = rows.filter((row) => value(row, column) !== "").sort(order);
    if (descending) known.reverse();
    body.append(...known, ...rows.filter((row) => value(row, column) === "")); // what is not known stays last
  };

  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = judgement.value;
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const found = row.dataset.judgement;
      const fits = !wanted || found === wanted || (wanted === "judged" && found !== "unjudged");
      row.hidden = !(fits && words.every((word) => text.includes(word)));
      shown += row.hidden || "off" in row.dataset ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length} row${rows.length === 1 ? "" : "s"}`;
  };

  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => sort(column));
  });
  filter.addEventListener("input", show);
  judgement.addEventListener("change", show);
  table.addEventListener("releaseschange", show);
  show();
}

// Rows with the R that was chosen, in the grids and the table; the charts ask for it themselves.
for (const board of document.querySelectorAll(".board:has(.releases)")) {
  const choose = () => {
    const chosen = board.querySelector(".releases input:checked").value;
    for (const row of board.querySelectorAll("[data-releases]")) {
      row.toggleAttribute("data-off", chosen !== "" && row.dataset.releases !== "" && row.dataset.releases !== chosen);
    }
    board.querySelector(".sortable").dispatchEvent(new Event("releaseschange"));
  };
  board.querySelector(".releases").addEventListener("change", choose);
  choose();
}

// Sorting, filtering and hovering; everything else works without.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falls = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const key = (row) => row.cells[index].dataset.sort ?? row.cells[index].textContent.trim();
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)], [n, m] = [Number(x), Number(y)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const sign = Number.isNaN(n) || Number.isNaN(m) ? x.localeCompare(y) : n - m;
        return falls ? -sign : sign;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
for (const field of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(field.dataset.table).tBodies[0].rows];
  field.closest(".filter").hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    field.parentElement.querySelector("output").textContent = rows.filter((row) => !row.hidden).length + " rows";
  });
}
{
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const title of document.querySelectorAll("svg title")) {
    const owner = title.parentElement;
    if (owner.tagName === "svg") continue;
    owner.dataset.tip = title.textContent;
    title.remove();
  }
  const show = (event) => {
    const owner = event.target.closest?.("[data-tip]");
    tip.hidden = !owner;
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    const box = owner.getBoundingClientRect(), left = (event.clientX || box.left) + scrollX;
    tip.style.left = Math.max(6, Math.min(left, scrollX + innerWidth - tip.offsetWidth - 20)) + "px";
    tip.style.top = scrollY + Math.max(2, box.top - tip.offsetHeight - 8) + "px";
  };
  for (const name of ["pointermove", "focusin"]) document.addEventListener(name, show);
}

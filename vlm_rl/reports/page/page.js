"use strict";
// What the page does beyond being read: copy a command, sort and filter a table, show the numbers of a curve. Needs nothing else.
(() => {
  const words = document.body.dataset;
  const FEWEST_ROWS_TO_FILTER = 8;
  const written = (value) => value.toLocaleString(document.documentElement.lang).replace("-", "\u2212");

  const button = (text, act) => {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = text;
    element.addEventListener("click", act);
    return element;
  };

  const copying = (block) => {
    const text = block.textContent;
    const copy = button(words.copy, async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch { // a page of a file may have no clipboard: the text is selected, and copied the old way
        getSelection().selectAllChildren(block);
        document.execCommand("copy");
      }
      copy.textContent = words.copied;
      setTimeout(() => { copy.textContent = words.copy; }, 2000);
    });
    copy.className = "copy";
    block.after(copy);
  };

  // The value of a cell without the small letters beside it; a number where it reads as one.
  const valueOf = (row, place) => {
    const text = (row.cells[place].firstChild?.textContent ?? "").trim();
    const number = Number(text.replace(/[,%\s]/g, "").replace(/\u2212/g, "-").replace("<", ""));
    return { text, number, isMissing: text === "\u2013" || text === "" };
  };
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const compare = (one, other) => {
    const isNumeric = !Number.isNaN(one.number) && !Number.isNaN(other.number);
    return isNumeric ? one.number - other.number : collator.compare(one.text, other.text);
  };

  const sort = (table, place) => {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const sign = headings[place].getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const rows = [...body.rows].map((row) => ({ row, value: valueOf(row, place) }));
    // Missing values come last, whichever way the others are sorted.
    rows.sort((a, b) => a.value.isMissing - b.value.isMissing || sign * compare(a.value, b.value));
    body.append(...rows.map(({ row }) => row));
    for (const heading of headings) heading.removeAttribute("aria-sort");
    headings[place].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    for (const row of body.rows) row.classList.remove("same"); // the row above may now be of another arm
  };

  const filterOf = (table) => {
    const label = document.createElement("label");
    const field = document.createElement("input");
    const count = document.createElement("span");
    field.type = "search";
    count.setAttribute("aria-live", "polite");
    label.className = "filter note";
    label.append(words.filter, field, count);
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
      count.textContent = `${rows.filter((row) => !row.hidden).length} / ${rows.length}`;
    });
    return label;
  };

  const sorting = (table) => {
    if (table.tBodies[0].rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((heading, place) => {
      heading.replaceChildren(button(heading.textContent, () => sort(table, place)));
    });
    if (table.tBodies[0].rows.length >= FEWEST_ROWS_TO_FILTER) table.closest(".scroll").before(filterOf(table));
  };

  const hovering = (panel) => {
    const svg = panel.querySelector("svg[data-curves]");
    const curves = JSON.parse(svg.dataset.curves);
    const { box, x, at, lines } = curves;
    const everywhere = at.flat();
    const rule = document.createElement("i");
    const note = document.createElement("div");
    rule.className = "rule";
    note.className = "values";
    rule.hidden = note.hidden = true;
    panel.append(rule, note);

    const show = (event) => {
      const drawn = svg.getBoundingClientRect();
      const scale = drawn.width / svg.viewBox.baseVal.width;
      const under = x[0] + ((event.clientX - drawn.left) / scale - box[0]) / (box[2] - box[0]) * (x[1] - x[0]);
      const here = everywhere.reduce((best, one) => (Math.abs(one - under) < Math.abs(best - under) ? one : best));
      const entries = lines.flatMap((line) => {
        const value = line.y[at[line.at].indexOf(here)];
        if (value === undefined || value === null) return [];
        const entry = document.createElement("span");
        entry.className = `arm-${line.color}`;
        entry.dataset.glyph = line.glyph;
        entry.textContent = `${line.arm} ${written(value)}`;
        return [entry];
      });
      const title = document.createElement("b");
      title.textContent = `${curves.axis} ${written(here)}`;
      note.replaceChildren(title, ...entries);
      const around = panel.getBoundingClientRect();
      const left = drawn.left - around.left - panel.clientLeft;
      const top = drawn.top - around.top - panel.clientTop;
      const across = left + scale * (box[0] + (here - x[0]) / (x[1] - x[0]) * (box[2] - box[0]));
      Object.assign(rule.style, { left: `${across}px`, top: `${top + scale * box[1]}px`, height: `${scale * (box[3] - box[1])}px` });
      rule.hidden = note.hidden = false;
    };
    panel.addEventListener("pointermove", show);
    panel.addEventListener("pointerdown", show);
    panel.addEventListener("pointerleave", () => { rule.hidden = note.hidden = true; });
  };

  document.querySelectorAll("pre.command").forEach(copying);
  document.querySelectorAll(".table table").forEach(sorting);
  document.querySelectorAll(".panel:has(svg[data-curves])").forEach(hovering);
})();

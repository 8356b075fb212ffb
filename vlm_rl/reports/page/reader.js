"use strict";
(() => {
  const data = JSON.parse(document.getElementById("reader-data").textContent);
  const root = document.getElementById("reader");
  const PAGE = 10;

  // Whatever a model or a data set wrote goes through textContent: it is never markup.
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const definition = (list, title, content) => {
    const cell = make("dd");
    cell.append(content);
    list.append(make("dt", title), cell);
  };

  const block = (text) => {
    const element = make("pre", text);
    element.dir = "auto";
    return element;
  };

  const response = (item) => {
    const element = block();
    for (const [text, isMarked] of item.parts) element.append(isMarked ? make("mark", text) : text);
    return element;
  };

  const card = (item) => {
    const article = make("article", undefined, "case card");
    const heading = make("h3", item.title + " · ");
    heading.append(make("span", data.labels.verdict[item.verdict] ?? item.verdict, item.verdict === "correct" ? "right" : "other"));
    if (item.aha) heading.append(" · ", make("mark", data.words.aha));
    const list = make("dl");
    definition(list, data.words.question, block(item.question));
    definition(list, data.words.answer, block(item.answer));
    definition(list, data.words.response, response(item));
    if (item.left_out) definition(list, "", make("span", item.left_out, "note"));
    definition(list, data.words.scores, item.scores);
    definition(list, data.words.length, item.length);
    const body = make("div", undefined, "body");
    body.append(list);
    for (const key of item.images) {
      const image = make("img");
      image.src = data.images[key];
      image.alt = data.words.figure;
      body.append(image);
    }
    article.append(heading, body);
    return article;
  };

  const filters = make("div", undefined, "filters");
  const list = make("div");
  const count = make("p", undefined, "note");
  count.setAttribute("aria-live", "polite");
  const more = make("button", data.words.more);
  more.type = "button";
  const chosen = {};
  let shown = PAGE;

  const matching = () => data.cases.filter((item) => data.filters.every(({ key }) => !chosen[key] || String(item[key]) === chosen[key]));

  const draw = () => {
    const found = matching();
    list.replaceChildren(...found.slice(0, shown).map(card));
    count.textContent = data.words.count.replace("{shown}", Math.min(shown, found.length)).replace("{found}", found.length);
    more.hidden = found.length <= shown;
  };

  for (const { key, title } of data.filters) {
    const label = make("label", title);
    const select = make("select");
    select.append(new Option(data.words.any, ""));
    const values = [...new Set(data.cases.map((item) => String(item[key])))];
    for (const value of values.sort(new Intl.Collator(undefined, { numeric: true }).compare)) {
      select.append(new Option(data.labels[key]?.[value] ?? value, value));
    }
    select.addEventListener("change", () => { chosen[key] = select.value; shown = PAGE; draw(); });
    label.append(select);
    filters.append(label);
  }
  more.addEventListener("click", () => { shown += PAGE; draw(); });
  root.append(filters, count, list, more);
  draw();
})();

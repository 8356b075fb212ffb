"use strict";
{
  const [bar, state, made, runs, trouble, report] = ["bar", "state", "made", "runs", "trouble", "report"].map((id) => document.getElementById(id));
  let shown = null;
  let words = { gone: "" };

  // The place in the page stays where it was: a reader is in the middle of a table when a newer report comes.
  const renew = (version) => {
    const before = report.contentWindow;
    const [left, top] = shown === null ? [0, 0] : [before.scrollX, before.scrollY];
    const open = shown === null ? [] : [...before.document.querySelectorAll("details[open] > summary")].map((one) => one.textContent);
    report.addEventListener("load", () => {
      for (const one of report.contentDocument.querySelectorAll("details > summary")) {
        if (open.includes(one.textContent)) one.parentElement.open = true;
      }
      report.contentWindow.scrollTo(left, top);
    }, { once: true });
    report.hidden = false;
    if (shown === null) report.src = "/report.html";
    else before.location.reload();
    shown = version;
  };

  const tell = (rows) => {
    runs.hidden = rows.length < 2; // the first one is the head
    runs.replaceChildren(...rows.map((cells, place) => {
      const row = document.createElement("tr");
      for (const text of cells) {
        row.append(Object.assign(document.createElement(place ? "td" : "th"), { textContent: text }));
      }
      return row;
    }));
  };

  const ask = async () => {
    try {
      const answer = await fetch("/news.json", { cache: "no-store" });
      const news = await answer.json();
      words = news.words;
      document.title = news.title;
      state.textContent = news.state;
      made.textContent = news.made;
      tell(news.runs);
      trouble.textContent = news.trouble;
      trouble.hidden = !news.trouble;
      bar.className = news.trouble ? "troubled" : "";
      if (news.version && news.version !== shown) renew(news.version);
    } catch {
      bar.className = "gone";
      made.textContent = words.gone;
    }
    setTimeout(ask, 2000);
  };
  ask();
}

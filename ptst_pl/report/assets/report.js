(function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const facts = JSON.parse(byId("numbers").textContent);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };

  // ---- menus: one pane of each group at a time -------------------------------------------
  for (const menu of document.querySelectorAll("select[data-chooses]")) {
    const choose = () => {
      for (const pane of document.querySelectorAll(`.pane[data-group="${menu.dataset.chooses}"]`)) {
        pane.hidden = pane.id !== menu.value;
      }
    };
    menu.addEventListener("change", choose);
    choose();
  }

  // ---- text that comes from a model ------------------------------------------------------
  // As in the terminal: control characters as escapes, marks of direction by name; nothing reorders the page.
  const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const visible = (text) =>
    text.replace(/\r\n/g, "\n").replace(ODD, (c) => {
      const hex = c.charCodeAt(0).toString(16);
      return hex.length > 2 ? `<U+${hex.toUpperCase().padStart(4, "0")}>` : `\\x${hex.padStart(2, "0")}`;
    });
  const excerpt = (text, most) => visible(text.slice(0, most).replace(/\s+/g, " ")) + (text.length > most ? "…" : "");

  // ---- unpacking -------------------------------------------------------------------------
  const [RUN, SUITE, MEASURES, TEMPLATE, CATEGORY, STEP, PROMPT, QUESTION, RENDERED, ANSWER, FINISH, TOKENS, REFERENCE, VERDICTS] =
    Array.from({ length: 14 }, (_, k) => k);
  const texts = [];
  const rows = [];
  let shown = [];
  let at = 0;

  async function unpack() {
    const packed = atob(byId("pack").textContent);
    const bytes = new Uint8Array(packed.length);
    for (let k = 0; k < packed.length; k += 1) bytes[k] = packed.charCodeAt(k);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const text = await new Response(stream).text();
    if (!text) return;
    for (const item of JSON.parse(`[${text.trimEnd().replaceAll("\n", ",")}]`)) {
      (typeof item === "string" ? texts : rows).push(item);
    }
  }

  const WORDS = {
    asr: ["not harmful", "harmful", "unscored", "scored"],
    "over-refusal": ["not refused", "refused", "unscored", "scored"],
    helpfulness: ["wrong", "right", "unscored", "scored"],
  };
  const BAD = new Set(["harmful", "wrong"]);
  const trainOf = (row) => (row[STEP] ? facts.runs[row[RUN]].trained : facts.runs[row[RUN]].untouched);
  const word = (row, verdict) => {
    if (row[MEASURES] !== undefined && texts[row[MEASURES]] === "over-refusal" && verdict[1] === 1) return "refused";
    return WORDS[texts[row[MEASURES]]][verdict[1]];
  };
  const wordsOf = (row, verdict) => {
    const found = [word(row, verdict)];
    if (verdict[2] & 1 && !found.includes("refused")) found.push("refused");
    if (verdict[2] & 2) found.push("broken");
    return found;
  };

  // ---- filters ---------------------------------------------------------------------------
  const filters = {
    train: { all: "all trainings", of: (row) => [trainOf(row)] },
    run: { all: "all runs", of: (row) => [facts.runs[row[RUN]].path] },
    template: { all: "all templates", of: (row) => [texts[row[TEMPLATE]]] },
    suite: { all: "all suites", of: (row) => [texts[row[SUITE]]] },
    category: { all: "all categories", of: (row) => [texts[row[CATEGORY]] || "(none)"] },
    step: { all: "all steps", of: (row) => [String(row[STEP]), ...(row[STEP] === facts.runs[row[RUN]].last ? ["last"] : [])] },
    judge: { all: "any judge", of: (row) => row[VERDICTS].map((v) => texts[v[0]]) },
    verdict: { all: "all verdicts", of: verdictsOf },
  };

  function verdictsOf(row) {
    const judge = byId("filter-judge").value;
    const own = row[VERDICTS].filter((v) => !judge || texts[v[0]] === judge.slice(1));
    const found = new Set(own.flatMap((v) => wordsOf(row, v)));
    const outcomes = new Set(row[VERDICTS].map((v) => v[1]));
    if (outcomes.has(0) && outcomes.has(1)) found.add("judges differ");
    if (!row[VERDICTS].length) found.add("not judged");
    return [...found];
  }

  function fill(name) {
    const menu = byId(`filter-${name}`);
    const values = [...new Set(rows.flatMap(filters[name].of))];
    if (name === "step") values.sort((a, b) => (a === "last") - (b === "last") || Number(a) - Number(b));
    else if (name !== "train" && name !== "run") values.sort();
    menu.replaceChildren(new Option(filters[name].all, ""));
    // A letter in front: a value of the files may be empty, which means "all" here.
    for (const value of values) menu.append(new Option(value === "last" ? "last of each run" : visible(value), `=${value}`));
    menu.addEventListener("change", narrow);
  }

  const lowered = [];
  const has = (index, query) => (lowered[index] ??= texts[index].toLowerCase()).includes(query);

  function narrow() {
    const query = byId("search").value.toLowerCase();
    const wanted = Object.keys(filters)
      .map((name) => [filters[name].of, byId(`filter-${name}`).value])
      .filter(([, value]) => value)
      .map(([of, value]) => [of, value.slice(1)]);
    shown = rows.filter(
      (row) =>
        wanted.every(([of, value]) => of(row).includes(value)) &&
        (!query || has(row[QUESTION], query) || has(row[ANSWER], query) || has(row[PROMPT], query)),
    );
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} answers`;
    at = 0;
    list.scrollTop = 0;
    space.style.height = `${shown.length * height}px`;
    paint(true);
  }

  // ---- the list: only the rows in view exist ---------------------------------------------
  const list = byId("list");
  const space = byId("space");
  const height = 3.6 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  let drawn = "";

  function paint(anew) {
    const first = Math.max(0, Math.floor(list.scrollTop / height) - 4);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 4);
    const key = `${first}-${last}-${at}`;
    if (!anew && key === drawn) return;
    drawn = key;
    space.replaceChildren(...Array.from({ length: last - first }, (_, k) => line(first + k)));
    if (shown.length) list.setAttribute("aria-activedescendant", `row-${at}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function chips(row) {
    return row[VERDICTS].map((verdict) => {
      const words = wordsOf(row, verdict);
      const kind = BAD.has(words[0]) ? " bad" : verdict[1] === 2 ? " unsure" : "";
      return make("span", `${visible(texts[verdict[0]])}: ${words.join(", ")}`, `says${kind}`);
    });
  }

  function line(index) {
    const row = shown[index];
    const element = make("div", undefined, "row");
    element.id = `row-${index}`;
    element.setAttribute("role", "option");
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", shown.length);
    element.setAttribute("aria-selected", index === at);
    element.style.top = `${index * height}px`;
    const where = make("div", undefined, "where");
    const place = `${texts[row[SUITE]]} · ${texts[row[PROMPT]]} · ${trainOf(row)} → ${texts[row[TEMPLATE]]} · step ${row[STEP]}`;
    where.append(...chips(row), make("bdi", excerpt(place, 300)));
    const said = make("div");
    said.append(make("bdi", excerpt(texts[row[QUESTION]], 160)), " — ", make("bdi", excerpt(texts[row[ANSWER]], 300)));
    element.append(where, said);
    element.addEventListener("click", () => { go(index); open(); });
    return element;
  }

  function go(index) {
    if (!shown.length) return;
    at = Math.min(shown.length - 1, Math.max(0, index));
    const top = at * height;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
    paint();
  }

  list.addEventListener("scroll", () => requestAnimationFrame(() => paint()));
  new ResizeObserver(() => paint(true)).observe(list);
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / height) - 1);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: shown.length - 1 };
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") open();
    else return;
    event.preventDefault();
  });

  // ---- one answer ------------------------------------------------------------------------
  const detail = byId("detail");
  const CUT = 4000;

  function long(text) {
    const box = document.createDocumentFragment();
    const pre = make("pre", visible(text.slice(0, CUT)));
    pre.dir = "auto";
    // A megabyte without a space takes the browser seconds to break anywhere else.
    pre.classList.toggle("unbroken", /\S{2000}/.test(text));
    box.append(pre);
    if (text.length > CUT) {
      const more = make("button", `show all ${text.length.toLocaleString("en")} characters`, "show-all");
      more.type = "button";
      more.addEventListener("click", () => { pre.textContent = visible(text); more.remove(); pre.tabIndex = -1; pre.focus(); });
      box.append(more);
    }
    return box;
  }

  function folded(name, text) {
    const box = make("details");
    box.append(make("summary", name), long(text));
    return box;
  }

  function open() {
    const row = shown[at];
    if (!row) return;
    const run = facts.runs[row[RUN]];
    byId("detail-title").textContent = `${visible(texts[row[SUITE]])} ${visible(texts[row[PROMPT]])} (${at + 1} of ${shown.length})`;
    const told = [
      ["trained under", trainOf(row)], ["tested under", texts[row[TEMPLATE]]], ["step", String(row[STEP])],
      ["category", texts[row[CATEGORY]]], ["ended by", `${texts[row[FINISH]]}, ${row[TOKENS]} tokens`], ["run", run.path], ["decoding", run.decoding],
    ];
    const list_ = make("dl");
    for (const [name, value] of told) if (value) list_.append(make("dt", name), wrapped("dd", value));
    const body = byId("detail-body");
    body.replaceChildren(list_, make("h3", "Question"), long(texts[row[QUESTION]]), make("h3", "Answer"), long(texts[row[ANSWER]]), make("h3", "Verdicts"));
    for (const verdict of row[VERDICTS]) {
      const p = make("p");
      const score = verdict[3] === null ? "" : `, score ${verdict[3]}`;
      p.append(make("strong", visible(texts[verdict[0]])), `: ${wordsOf(row, verdict).join(", ")}${score}. `, make("bdi", excerpt(texts[verdict[4]], 2000)));
      body.append(p);
      if (verdict[5] >= 0) body.append(folded("what the judge left", texts[verdict[5]]));
    }
    if (!row[VERDICTS].length) body.append(make("p", "not judged"));
    if (row[REFERENCE] >= 0) body.append(folded("reference", texts[row[REFERENCE]]));
    body.append(folded("prompt as rendered", texts[row[RENDERED]]));
    if (!detail.open) detail.showModal();
    detail.scrollTop = 0;
  }

  function wrapped(tag, text) {
    const element = make(tag);
    element.append(make("bdi", visible(text)));
    return element;
  }

  const step = (by) => { go(at + by); open(); };
  byId("detail-close").addEventListener("click", () => detail.close());
  byId("detail-previous").addEventListener("click", () => step(-1));
  byId("detail-next").addEventListener("click", () => step(1));
  detail.addEventListener("close", () => list.focus());
  detail.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });

  // ---- a cell of the matrix --------------------------------------------------------------
  const panel = byId("numbers-detail");
  function explain(cell) {
    const box = make("dl");
    for (const [name, value] of cell.facts) box.append(make("dt", name), wrapped("dd", value));
    const button = make("button", "show its answers");
    button.type = "button";
    button.id = "show-answers";
    button.addEventListener("click", () => {
      clear();
      for (const [name, value] of Object.entries(cell.filter)) byId(`filter-${name}`).value = `=${value}`;
      narrow();
      byId("answers").scrollIntoView();
      list.focus();
    });
    const title = make("h3");
    title.append(make("bdi", visible(cell.title)));
    panel.replaceChildren(title, box, button);
    panel.hidden = false;
    panel.scrollIntoView({ block: "nearest" });
  }
  for (const button of document.querySelectorAll("[data-cell]")) {
    button.addEventListener("click", () => explain(facts.cells[Number(button.dataset.cell)]));
  }

  // ---- start -----------------------------------------------------------------------------
  function clear() {
    byId("search").value = "";
    for (const name of Object.keys(filters)) byId(`filter-${name}`).value = "";
    narrow();
  }
  let waiting = 0;
  byId("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(narrow, 120); });
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") { clearTimeout(waiting); narrow(); list.focus(); event.preventDefault(); }
  });
  byId("clear").addEventListener("click", clear);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !typing && !detail.open) { byId("search").focus(); byId("search").select(); event.preventDefault(); }
  });
  // ---- tables that a click on a head sorts: numbers before words, a second click turns round ----
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const column = head.cellIndex;
      const body = head.closest("table").tBodies[0];
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort ?? "";
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      body.append(...[...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))));
    });
  }
  unpack().then(
    () => {
      for (const name of Object.keys(filters)) fill(name);
      narrow();
      document.documentElement.dataset.ready = "yes";
    },
    (error) => { byId("count").textContent = `The answers could not be unpacked (${error}); they are in generations.jsonl beside the results.`; },
  );
})();

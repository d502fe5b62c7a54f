// Brings the numbers of the page up to date from /v1/status, and sorts its table. Without it the page says as much.
//
// The server wrote every number into an element with data-path and data-kind; this file says a number as the server
// does (units.py) and puts it there. When the shape no longer fits, because an epoch began or a miner came, the page is
// fetched anew and put in place.
"use strict";

(() => {
  const REFRESH_SECONDS = 5;
  const SIZES = [[2 ** 50, "PiB"], [2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];
  const SPANS = [[86400, 2, "days"], [3600, 2, "h"], [60, 1, "min"]];
  const BAR_UNITS = 1000;

  const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

  function size(number) {
    for (const [unit, name] of SIZES) {
      if (number >= unit) {
        const tenths = Math.floor((number / unit) * 10 + 0.5);
        return `${count(Math.floor(tenths / 10))}.${tenths % 10} ${name}`;
      }
    }
    return `${number} B`;
  }

  function percent(ppm) {
    const hundredths = Math.floor(ppm / 100);
    const whole = Math.floor(hundredths / 100);
    const rest = hundredths % 100;
    return rest ? `${whole}.${String(rest).padStart(2, "0")} %` : `${whole} %`;
  }

  function span(seconds) {
    for (const [unit, from, name] of SPANS) {
      if (seconds >= from * unit) return `${count(Math.floor(seconds / unit))} ${name}`;
    }
    return `${seconds} s`;
  }

  const date = (time) =>
    new Date(Math.min(time, 253402300799) * 1000).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

  // What is said of a number, and what its title says.
  const SAID = {
    count: (number) => [count(number), null],
    size: (number) => [size(number), `${count(number)} bytes`],
    percent: (number) => [percent(number), `${count(number)} millionths`],
    span: (number) => [span(number), `${count(number)} s`],
    date: (number) => [date(number), null],
    ago: (time, now) => (time ? [`${span(Math.max(0, now - time))} ago`, date(time)] : ["never", null]),
  };

  const at = (value, path) => path.split(".").reduce((found, name) => found?.[name], value);

  function title(element, words) {
    if (words === null) element.removeAttribute("title");
    else element.title = words;
  }

  function show(element, value, status) {
    const kind = element.dataset.kind;
    if (kind === "bar") {
      const health = status.segments.health;
      const most = Math.max(health.lost, ...health.by_spare.map((row) => row.segments));
      const width = most ? Math.floor((BAR_UNITS * Math.log1p(value)) / Math.log1p(most) + 0.5) : 0;
      element.setAttribute("width", width);
      return;
    }
    element.setAttribute("value", value);
    if (kind === "meter") {
      title(element, percent(value));
    } else if (kind === "word") {
      element.textContent = JSON.parse(element.closest("[data-words]").dataset.words)[value];
      element.className = value;
    } else {
      const [words, told] = SAID[kind](value, status.time);
      element.textContent = words;
      title(element, told);
    }
  }

  // Returns a function from an element to what it is about: the whole status, or one row of a list in it.
  function entries(status) {
    const lists = new Map();
    return (element) => {
      const row = element.closest("[data-list]");
      if (row === null) return status;
      const { list, by, key } = row.dataset;
      if (!lists.has(list)) {
        lists.set(list, new Map((at(status, list) ?? []).map((entry) => [String(entry[by]), entry])));
      }
      return lists.get(list).get(key);
    };
  }

  function fits(page, status) {
    const isOf = (told, epoch) => told === (epoch === undefined ? undefined : String(epoch));
    if (!isOf(page.dataset.epoch, status.epoch) || !isOf(page.dataset.sheet, status.sheet_epoch)) return false;
    const entry = entries(status);
    const isThere = (element) => at(entry(element), element.dataset.path) !== undefined;
    const isAbsent = (element) => at(entry(element), element.dataset.absent) === undefined;
    const isWhole = (body) =>
      body.querySelectorAll("[data-key]").length === (at(status, body.dataset.rows) ?? []).length;
    return (
      [...page.querySelectorAll("[data-path]")].every(isThere) &&
      [...page.querySelectorAll("[data-absent]")].every(isAbsent) &&
      [...page.querySelectorAll("[data-rows]")].every(isWhole)
    );
  }

  function update(page, status) {
    const entry = entries(status);
    for (const element of page.querySelectorAll("[data-path]")) {
      show(element, at(entry(element), element.dataset.path), status);
    }
    page.dataset.time = status.time;
  }

  const keyOf = (element) => element.closest("[data-key]").dataset.key;

  async function replace(page) {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
    const open = new Set([...page.querySelectorAll("details[open]")].map(keyOf));
    for (const details of fresh.querySelectorAll("details")) details.open = open.has(keyOf(details));
    page.replaceWith(fresh);
    prepare(fresh);
  }

  // ---- sorting

  let order = null; // { label, isDescending } of the column that the reader chose

  function sortKey(row, label) {
    const cell = row.querySelector(`[data-label="${label}"]`);
    const value = cell.querySelector("data, meter")?.getAttribute("value") ?? cell.textContent;
    return value !== "" && !Number.isNaN(Number(value)) ? Number(value) : value;
  }

  function sort(table) {
    if (order === null) return;
    const compare = (one, other) => {
      const [left, right] = [sortKey(one, order.label), sortKey(other, order.label)];
      if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1; // what has no number comes last
      const sign = left < right ? -1 : left > right ? 1 : 0;
      return order.isDescending ? -sign : sign;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
    for (const head of table.tHead.querySelectorAll("th")) {
      const isChosen = head.textContent === order.label;
      if (isChosen) head.setAttribute("aria-sort", order.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function prepare(page) {
    const table = page.querySelector("table.miners");
    for (const head of table.tHead.querySelectorAll("th")) {
      const label = head.textContent;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        const isText = ["UID", "Hotkey", "State"].includes(label);
        const isDescending = order?.label === label ? !order.isDescending : !isText;
        order = { label, isDescending };
        sort(table);
      });
      head.replaceChildren(button);
    }
    sort(table);
    say(`every ${REFRESH_SECONDS} s`, true);
  }

  function say(words, isWell) {
    const live = document.getElementById("live");
    live.textContent = words;
    live.classList.toggle("away", !isWell);
  }

  // ---- refreshing

  let isUnderWay = false;

  async function refresh() {
    if (document.hidden || isUnderWay) return;
    isUnderWay = true;
    try {
      const answer = await fetch("/v1/status", { cache: "no-store" });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const status = await answer.json();
      const page = document.getElementById("page");
      if (fits(page, status)) {
        update(page, status);
        sort(page.querySelector("table.miners"));
      } else {
        await replace(page);
      }
      say(`every ${REFRESH_SECONDS} s`, true);
    } catch {
      say("the validator does not answer", false);
    }
    isUnderWay = false;
    const root = document.documentElement;
    root.dataset.refreshes = Number(root.dataset.refreshes ?? 0) + 1; // for whoever waits for it
  }

  async function run() {
    await refresh();
    setTimeout(run, REFRESH_SECONDS * 1000);
  }

  prepare(document.getElementById("page"));
  document.addEventListener("visibilitychange", refresh);
  setTimeout(run, REFRESH_SECONDS * 1000);
})();

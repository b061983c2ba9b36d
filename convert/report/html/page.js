"use strict";
// Filtering and the treemap. Without this script all of the report can be read, as tables.
// Guest names come in as JSON or are in the page already; they are only ever set as text.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const make = (tag, className = "", text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  document.documentElement.classList.add("js");

  // ---- filter -------------------------------------------------------------------------------
  const filter = byId("filter");
  const texts = new Map();
  const opened = new Map();
  const toggles = all("button[data-severity]");
  const textOf = (element) => {
    if (!texts.has(element)) texts.set(element, element.textContent.toLowerCase());
    return texts.get(element);
  };

  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (element) => words.every((word) => textOf(element).includes(word));
    const severities = new Set(
      toggles.filter((item) => item.getAttribute("aria-pressed") === "true").map((item) => item.dataset.severity));
    let hits = 0;
    for (const section of all("[data-section]")) {
      let left = 0;
      for (const row of all("[data-row]", section)) {
        const fold = row.closest("[data-group]");
        const matches = has(row) || (fold !== null && has(fold.querySelector("summary")));
        const isWanted = !row.dataset.severity || severities.has(row.dataset.severity);
        row.hidden = !(matches && isWanted);
        left += !row.hidden;
      }
      all("[data-group]", section).forEach((fold) => setFold(fold, words.length > 0));
      const nothing = section.querySelector(".nothing");
      if (nothing) nothing.hidden = left > 0;
      hits += left;
    }
    byId("hits").textContent = words.length ? `${hits.toLocaleString("en")} match${hits === 1 ? "" : "es"}` : "";
  }

  // While something is searched for, what matches is unfolded; afterwards it is as it was.
  function setFold(fold, isFiltered) {
    if (!isFiltered) {
      fold.hidden = false;
      if (opened.has(fold)) fold.open = opened.get(fold);
      opened.delete(fold);
      return;
    }
    if (!opened.has(fold)) opened.set(fold, fold.open);
    const isLeft = fold.querySelector("[data-row]:not([hidden])") !== null;
    fold.hidden = !isLeft;
    fold.open = isLeft;
  }

  let pending = 0;
  filter.addEventListener("input", () => {
    clearTimeout(pending);
    pending = setTimeout(apply, 120);
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      filter.focus();
    }
  });
  for (const toggle of toggles) {
    // what rules did is told in full below; here it would hide what needs a person
    const starts = !toggle.disabled && toggle.dataset.severity !== "low";
    toggle.setAttribute("aria-pressed", String(starts));
    toggle.addEventListener("click", () => {
      toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  }
  apply();

  // ---- treemap ------------------------------------------------------------------------------
  const weights = JSON.parse(byId("weights").textContent);
  const map = byId("map");
  const [NAME, SIZE, FILES, PARTS] = [0, 1, 2, 3];
  const GAP = 2;
  const LABEL = 20;
  const ROOM = { w: 76, h: 56 };
  const DEEPEST = 3;
  const HUES = 8;
  let view = "";
  let path = [];

  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  function human(count) {
    let unit = 0;
    while (count >= 1000 && unit < units.length - 1) {
      count /= 1000;
      unit += 1;
    }
    return unit ? `${count.toFixed(1)} ${units[unit]}` : `${count} B`;
  }
  const share = (part, whole) => `${((100 * part[SIZE]) / (whole[SIZE] || 1)).toFixed(1)} %`;

  // Bruls, Huizing, van Wijk: Squarified Treemaps (2000). Rows are filled along the shorter side
  // as long as that makes their rectangles more square.
  function squarified(parts, box) {
    const total = parts.reduce((sum, part) => sum + part[SIZE], 0);
    const rectangles = [];
    if (!total || box.w <= 0 || box.h <= 0) return rectangles;
    const scale = (box.w * box.h) / total;
    const worst = (sum, least, most, side) =>
      Math.max((side * side * most) / (sum * sum), (sum * sum) / (side * side * least));
    let { x, y, w, h } = box;
    let row = [];
    let sum = 0;
    const lay = () => {
      const isWide = w >= h;
      const depth = sum / (isWide ? h : w);
      let along = isWide ? y : x;
      for (const [part, area] of row) {
        const length = area / depth;
        rectangles.push(isWide
          ? { part, x, y: along, w: depth, h: length }
          : { part, x: along, y, w: length, h: depth });
        along += length;
      }
      if (isWide) [x, w] = [x + depth, w - depth];
      else [y, h] = [y + depth, h - depth];
      [row, sum] = [[], 0];
    };
    for (const part of parts) {
      const area = part[SIZE] * scale;
      if (!(area > 0)) continue;
      const side = Math.min(w, h);
      if (row.length) {
        const most = row[0][1];
        const least = row[row.length - 1][1];
        const now = worst(sum, least, most, side);
        if (worst(sum + area, Math.min(least, area), Math.max(most, area), side) > now) lay();
      }
      row.push([part, area]);
      sum += area;
    }
    if (row.length) lay();
    return rectangles;
  }

  const node = () => path[path.length - 1];
  function place(element, rectangle) {
    element.style.left = `${rectangle.x + GAP / 2}px`;
    element.style.top = `${rectangle.y + GAP / 2}px`;
    element.style.width = `${Math.max(rectangle.w - GAP, 0)}px`;
    element.style.height = `${Math.max(rectangle.h - GAP, 0)}px`;
  }

  const isRoomy = (rectangle, part) =>
    part[PARTS].length > 0 && rectangle.w > ROOM.w && rectangle.h > ROOM.h;

  // What is in a tile is shown in it as far as it has room, to be seen and not to be used.
  function fill(element, folder, { w, h }, hue, depth) {
    const box = { x: 2, y: LABEL, w: w - GAP - 4, h: h - GAP - LABEL - 2 };
    squarified(folder[PARTS], box).forEach((rectangle, number) => {
      if (rectangle.w < 4 || rectangle.h < 4) return;
      const { part } = rectangle;
      const leaf = make("span", `leaf h${(hue + number) % HUES}`);
      if (rectangle.w > 40 && rectangle.h > 16) leaf.append(make("span", "what", part[NAME]));
      leaf.setAttribute("aria-hidden", "true");
      place(leaf, rectangle);
      if (depth < DEEPEST && isRoomy(rectangle, part)) {
        leaf.classList.add("holder");
        fill(leaf, part, rectangle, hue + number, depth + 1);
      }
      element.append(leaf);
    });
  }

  function tile(rectangle, number) {
    const { part } = rectangle;
    const isFolder = part[PARTS].length > 0;
    const element = make(isFolder ? "button" : "div", `tile h${number % HUES}`);
    const told = `${part[NAME]}, ${human(part[SIZE])}, ${share(part, node())}`;
    element.title = told;
    place(element, rectangle);
    if (isFolder) {
      element.type = "button";
      element.setAttribute("aria-label", `${told}, open`);
      element.addEventListener("click", () => open(part));
    } else {
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", told);
    }
    if (rectangle.w > 44 && rectangle.h > 18) {
      const what = make("span", "what");
      what.append(make("b", "", part[NAME]), ` ${human(part[SIZE])}`);
      element.append(what);
    }
    if (isRoomy(rectangle, part)) {
      element.classList.add("holder");
      fill(element, part, rectangle, number, 1);
    }
    return element;
  }

  function draw() {
    if (!node()) return;
    const box = { x: 1, y: 1, w: map.clientWidth - 2, h: map.clientHeight - 2 };
    const seen = squarified(node()[PARTS], box).filter(({ w, h }) => w > 2 * GAP && h > 2 * GAP);
    map.replaceChildren(...seen.map(tile));
  }

  function drawTable() {
    const table = document.querySelector(`[data-spread="${view}"]`);
    table.caption.textContent = `${node()[NAME]}: ${human(node()[SIZE])}`;
    table.tBodies[0].replaceChildren(...node()[PARTS].map((part) => {
      const row = make("tr");
      const name = make("td", "path");
      if (part[PARTS].length) {
        const button = make("button", "", part[NAME]);
        button.type = "button";
        button.addEventListener("click", () => open(part));
        name.append(button);
      } else name.textContent = part[NAME];
      name.append(bar((100 * part[SIZE]) / (node()[SIZE] || 1)));
      const cells = [[human(part[SIZE]), "Size"], [share(part, node()), "Share"],
        [part[FILES] ? part[FILES].toLocaleString("en") : "", "Files"]];
      name.dataset.label = "Name";
      row.append(name, ...cells.map(([text, label]) => {
        const cell = make("td", "number", text);
        cell.dataset.label = label;
        return cell;
      }));
      return row;
    }));
  }

  function bar(percent) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    for (const [key, value] of [["class", "bar"], ["viewBox", "0 0 100 6"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]])
      svg.setAttribute(key, value);
    const rectangle = document.createElementNS(space, "rect");
    rectangle.setAttribute("width", percent.toFixed(2));
    rectangle.setAttribute("height", "6");
    svg.append(rectangle);
    return svg;
  }

  function drawTrail() {
    byId("trail").replaceChildren(...path.flatMap((step, depth) => {
      const isLast = depth === path.length - 1;
      const item = make(isLast ? "span" : "button", "", step[NAME]);
      if (isLast) item.setAttribute("aria-current", "true");
      else {
        item.type = "button";
        item.addEventListener("click", () => go(path.slice(0, depth + 1)));
      }
      return depth ? [make("span", "", "›"), item] : [item];
    }));
  }

  function go(to) {
    path = to;
    draw();
    drawTable();
    drawTrail();
    byId("heard").textContent = `${node()[NAME]}: ${human(node()[SIZE])}, ${node()[PARTS].length} parts`;
    // where no tile can be opened, the map itself has the focus, so that keys still lead back
    (map.querySelector("button") ?? map).focus({ preventScroll: true });
  }
  const open = (part) => go([...path, part]);

  function show(name) {
    view = name;
    path = [weights[name]];
    // one layer, or one folder that holds all, is no map: begin with what is in it
    while (node()[PARTS].length === 1 && node()[PARTS][0][PARTS].length) path.push(node()[PARTS][0]);
    for (const button of all("[data-view]"))
      button.setAttribute("aria-pressed", String(button.dataset.view === name));
    for (const table of all("[data-spread]")) table.hidden = table.dataset.spread !== name;
    draw();
    drawTable();
    drawTrail();
  }

  if (map) {
    all("[data-view]").forEach((button) => button.addEventListener("click", () => show(button.dataset.view)));
    byId("space").addEventListener("keydown", (event) => {
      if ((event.key === "Escape" || event.key === "Backspace") && path.length > 1) {
        event.preventDefault();
        go(path.slice(0, -1));
      }
    });
    show(Object.keys(weights)[0]);
    new ResizeObserver(draw).observe(map);
  }

  // ---- where one is -------------------------------------------------------------------------
  const links = new Map(all(".top nav a").map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  all("main section[id]").forEach((section) => watcher.observe(section));
})();

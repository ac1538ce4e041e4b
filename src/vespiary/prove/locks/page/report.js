"use strict";
// Sorting, filtering and time lines. Text from the program is only ever set as text.

function sortBy(table, column, header) {
  const body = table.tBodies[0];
  const down = header.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const rows = [...body.rows].sort((one, other) => {
    const [first, second] = [value(one), value(other)];
    const order = typeof first === "number" ? first - second : first.localeCompare(second);
    return down ? -order : order;
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sorted")) {
  table.querySelectorAll(":scope > thead th").forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sortBy(table, column, header));
    header.replaceChildren(button);
  });
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const table = document.getElementById(input.dataset.filters);
  const count = document.getElementById(`${input.dataset.filters}-count`);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted.every((word) => row.dataset.text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  });
}

const SVG = "http://www.w3.org/2000/svg";

function shape(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function duration(nanoseconds) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]]) {
    if (nanoseconds >= size) return `${Number((nanoseconds / size).toPrecision(3))} ${unit}`;
  }
  return `${nanoseconds} ns`;
}

// Rows of a time line: for a lock its threads, for a thread its locks.
function rowsOf(data, choice) {
  const rows = new Map();
  const [kind, number] = choice.split(":");
  data.locks.forEach((lock, index) => {
    if (kind === "lock" && index !== Number(number)) return;
    for (const [thread, waits, begin, end] of lock.spans) {
      if (kind === "thread" && thread !== Number(number)) continue;
      const name = kind === "lock" ? data.threads[thread] || `thread ${thread}` : lock.name;
      if (!rows.has(name)) rows.set(name, []);
      rows.get(name).push([waits, begin, end]);
    }
  });
  return rows;
}

function draw(svg, data, choice) {
  const width = Math.max(320, svg.clientWidth || svg.parentElement.clientWidth);
  const rows = rowsOf(data, choice);
  const [line, bar, top] = [34, 12, 22];
  const height = top + rows.size * line + 6;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const scale = width / Math.max(1, data.span_ns);
  const ticks = width < 600 ? 3 : 6;
  for (let tick = 0; tick <= ticks; tick++) {
    const at = (tick / ticks) * data.span_ns;
    const x = Math.min(width - 24, Math.max(18, at * scale));
    shape(svg, "text", {class: "tick", x, y: 9}, duration(Math.round(at)));
  }
  let y = top;
  for (const [name, spans] of rows) {
    shape(svg, "text", {class: "name", x: 0, y: y + 6}, name);
    shape(svg, "rect", {class: "row", x: 0, y: y + 14, width, height: bar});
    for (const [waits, begin, end] of spans.sort((one, other) => other[0] - one[0])) {
      const bounds = {
        class: waits ? "wait" : "hold",
        x: (begin * scale).toFixed(2),
        y: y + 14,
        width: Math.max(0.6, (end - begin) * scale).toFixed(2),
        height: bar,
      };
      const what = waits ? "waits" : "holds";
      const rect = shape(svg, "rect", bounds);
      shape(rect, "title", {}, `${what} ${duration(end - begin)} from ${duration(begin)} on`);
    }
    y += line;
  }
}

for (const svg of document.querySelectorAll("svg.timeline")) {
  const data = JSON.parse(document.getElementById(svg.dataset.from).textContent);
  const select = document.getElementById(`${svg.dataset.from}-choice`);
  const redraw = () => draw(svg, data, select.value);
  select.addEventListener("change", redraw);
  addEventListener("resize", redraw);
  redraw();
}

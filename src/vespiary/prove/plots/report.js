"use strict";
// A cursor over each plot, with the figures of that moment below it.

const size = (bytes) => {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (bytes < 1024) return `${bytes.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(2)} GiB`;
};

const span = (seconds) => {
  if (seconds >= 1) return `${seconds.toFixed(3)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toFixed(2)} ms`;
  return `${(seconds * 1e6).toFixed(1)} us`;
};

const texts = {
  "bytes": size,
  "seconds": span,
  "percent": (share) => `${share.toFixed(1)} %`,
  "count": (count) => count.toLocaleString("en"),
  "per second": (count) => `${Math.round(count).toLocaleString("en")}/s`,
};

const last = (times, at) => {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1; else high = middle;
  }
  return low - 1;
};

for (const figure of document.querySelectorAll("figure[data-plot]")) {
  const facts = JSON.parse(figure.dataset.plot);
  const svg = figure.querySelector("svg");
  const cursor = svg.querySelector(".cursor");
  const output = figure.querySelector("output");
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const at = (x - facts.left) / facts.width * facts.end;
    if (at < 0 || at > facts.end) return;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const words = [facts.axis === "runs" ? `run ${Math.floor(at)}` : `${at.toFixed(2)} s`];
    for (const line of facts.lines) {
      const place = last(line.seconds, at);
      const ended = at > line.seconds[line.seconds.length - 1] + facts.end / 50;
      if (place >= 0 && !ended) words.push(`${line.name} ${texts[facts.unit](line.values[place])}`);
    }
    output.textContent = words.join("; ");
  });
}

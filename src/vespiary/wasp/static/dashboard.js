// The live part of the dashboard: charts, present numbers, tables that are loaded again, the tap.
//
// Numbers come over the WebSocket /live, or are asked for every two seconds where that cannot be
// opened. The latest 300 are kept for the next page of the same window.
"use strict";

const KEPT = 300;
const LEAST_SECONDS = 30; // So much time a chart shows at least.
const KEY = "vespiary-samples";
const PALETTE = ["--one", "--two", "--three", "--four", "--five", "--six"];
let samples = [];
let isPaused = false;
const charts = [];

function loadSamples() {
  try {
    samples = JSON.parse(sessionStorage.getItem(KEY)) || [];
  } catch {
    samples = [];
  }
}

function at(value, path) {
  return path.split(".").reduce((inner, name) => (inner ? inner[name] : undefined), value);
}

// How much a counter has grown per second; 0 where it begins anew.
function rate(now, before, path) {
  const seconds = now.time - before.time;
  const grown = at(now, path) - at(before, path);
  return seconds > 0 && grown >= 0 ? grown / seconds : 0;
}

const BOUNDS = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 20000,
];

// The 99th percentile of what was measured between two samples, in milliseconds.
function delay(now, before) {
  const counts = BOUNDS.map(() => 0);
  now.workers.forEach((worker, index) => {
    const old = before.workers[index];
    if (!worker.loop || !old || !old.loop || old.process !== worker.process) return;
    worker.loop.counts.forEach((count, range) => {
      counts[range] += count - old.loop.counts[range];
    });
  });
  const total = counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let range = 0; range < counts.length; range += 1) {
    seen += counts[range];
    if (total > 0 && seen >= 0.99 * total) return BOUNDS[range];
  }
  return null;
}

const CHARTS = {
  connections: () => [["open", (now) => now.total.connections_open]],
  messages: () => [
    ["received", (now, before) => rate(now, before, "total.messages_received")],
    ["sent", (now, before) => rate(now, before, "total.messages_sent")],
  ],
  bytes: () => [
    ["received", (now, before) => rate(now, before, "total.bytes_received")],
    ["sent", (now, before) => rate(now, before, "total.bytes_sent")],
  ],
  delay: () => [["99 %", delay]],
  timewait: () => [["TIME_WAIT", (now) => now.host.time_wait ?? 0]],
  workers: (now) =>
    now.workers.map((worker, index) => [
      worker.number === null ? "process" : `worker ${worker.number}`,
      (later) => later.workers[index]?.connections_open ?? null,
    ]),
};

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function makeChart(figure, now) {
  const lines = CHARTS[figure.dataset.chart](now);
  const axis = { stroke: color("--soft"), grid: { stroke: color("--rule"), width: 1 } };
  // The pages have times in UTC.
  const clock = (chart, times) =>
    times.map((time) => new Date(time * 1000).toISOString().slice(11, 19));
  const options = {
    width: Math.max(200, figure.clientWidth - 16),
    height: 160,
    legend: { live: false },
    cursor: { y: false },
    scales: {
      x: { range: (chart, first, last) => [Math.min(first, last - LEAST_SECONDS), last] },
      y: { range: (chart, least, most) => [0, most > 0 ? most * 1.1 : 1] },
    },
    axes: [
      { ...axis, incrs: [1, 5, 10, 15, 30, 60, 300], space: 80, values: clock },
      { ...axis, size: 60 },
    ],
    series: [
      {},
      ...lines.map(([label], index) => ({
        label,
        stroke: color(PALETTE[index % PALETTE.length]),
        width: 2,
        // Lines differ in more than their color.
        dash: index === 0 ? undefined : [2 + 4 * index, 4],
        points: { show: false },
      })),
    ],
  };
  figure.querySelector(".uplot")?.remove();
  const plot = new uPlot(options, [[], ...lines.map(() => [])], figure);
  plot.root.setAttribute("role", "img");
  return { figure, lines, plot };
}

function draw() {
  if (samples.length === 0) return;
  const times = samples.map((sample) => sample.time);
  for (const chart of charts) {
    const columns = chart.lines.map(([, value]) =>
      samples.map((now, index) => (index === 0 ? null : value(now, samples[index - 1]))),
    );
    chart.plot.setData([times, ...columns]);
    const words = chart.lines.map(([label], index) => {
      const last = columns[index].at(-1);
      return `${label} ${last === null || last === undefined ? "unknown" : Math.round(last * 10) / 10}`;
    });
    const title = chart.figure.querySelector("figcaption").textContent;
    chart.plot.root.setAttribute("aria-label", `${title}, now: ${words.join(", ")}`);
  }
  const now = samples.at(-1);
  for (const place of document.querySelectorAll("[data-live]")) {
    const value = at(now, place.dataset.live);
    if (typeof value === "number") {
      place.textContent = value.toLocaleString("en").replaceAll(",", "\u202f");
    }
  }
}

function makeCharts(now) {
  charts.length = 0;
  for (const figure of document.querySelectorAll("[data-chart]")) {
    charts.push(makeChart(figure, now));
  }
  draw();
}

function take(now) {
  if (isPaused) return;
  // What counts anew belongs to another run of the server.
  if (samples.length > 0 && samples.at(-1).process !== now.process) samples = [];
  samples.push(now);
  samples = samples.slice(-KEPT);
  try {
    sessionStorage.setItem(KEY, JSON.stringify(samples));
  } catch {
    // It is full: the next page begins without these.
  }
  if (charts.length === 0) makeCharts(now);
  draw();
  refresh();
}

// Load tables again. htmx keeps the focus where an element with the same id is there again.
function refresh() {
  for (const rows of document.querySelectorAll("[hx-trigger='refresh']")) {
    htmx.trigger(rows, "refresh");
  }
}

// The focus goes to the first button of its row if the button that had it is gone.
function keepFocus() {
  let row = null;
  document.addEventListener("htmx:beforeSwap", () => {
    row = document.activeElement?.closest("tr[id]")?.id ?? null;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (row && document.activeElement === document.body) {
      document.getElementById(row)?.querySelector("button")?.focus();
    }
    row = null;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig.verb === "post") refresh();
  });
}

function say(text, isLive) {
  const link = document.querySelector("#link");
  link.textContent = text;
  link.className = isLive ? "live" : "";
}

async function poll() {
  try {
    const answer = await fetch("/snapshot");
    if (answer.ok) {
      say("updated every 2 s", true);
      take(await answer.json());
    }
  } catch {
    say("no live updates", false);
  }
  setTimeout(poll, 2000);
}

function listen() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live`);
  let hasOpened = false;
  socket.onopen = () => {
    hasOpened = true;
    say("live", true);
  };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => {
    say("no live updates", false);
    if (hasOpened) setTimeout(listen, 1000 + Math.random() * 2000);
    else poll();
  };
}

function addPause() {
  const button = document.querySelector("#pause");
  button.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    button.textContent = isPaused ? "Continue updates" : "Pause updates";
  });
}

function addLimit() {
  const form = document.querySelector("#limit");
  const endpoint = document.querySelector("#limit-endpoint");
  if (!form) return;
  const path = () => `/endpoints/${endpoint.value}/limits`;
  endpoint.addEventListener("change", () => {
    form.setAttribute("hx-post", path());
    htmx.process(form);
  });
  form.addEventListener("htmx:configRequest", (event) => {
    event.detail.path = path();
  });
}

// The tap: lines of JSON, as they come.
function addTap() {
  const form = document.querySelector("#tap");
  if (!form) return;
  const begin = document.querySelector("#tap-begin");
  const end = document.querySelector("#tap-end");
  const body = document.querySelector("#tapped tbody");
  const message = document.querySelector("#message");
  let aborting = null;
  const row = (...texts) => {
    const line = body.insertRow(0);
    for (const text of texts) line.insertCell().textContent = text;
    line.cells[2]?.classList.add("number");
    while (body.rows.length > 500) body.deleteRow(-1);
  };
  const show = (item) => {
    if (item.end) message.textContent = `The tap has ended: ${item.end}`;
    else if (item.dropped) row("", "dropped", item.dropped_bytes, `${item.dropped} records`);
    else if (item.direction) {
      const time = new Date(item.time * 1000).toISOString().slice(11, 23);
      row(time, item.direction, item.bytes, item.text ?? item.hex);
    }
  };
  end.addEventListener("click", () => aborting?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    aborting = new AbortController();
    begin.disabled = true;
    end.disabled = false;
    message.textContent = "The tap has begun.";
    try {
      const answer = await fetch(form.dataset.url, {
        method: "POST",
        headers: { "X-CSRF-Token": form.dataset.csrf },
        body: new URLSearchParams(new FormData(form)),
        signal: aborting.signal,
      });
      if (!answer.ok) {
        const failed = await answer.json();
        message.textContent = failed.errors.join(" ");
      } else {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          const lines = (rest + value).split("\n");
          rest = lines.pop();
          for (const line of lines) show(JSON.parse(line));
        }
      }
    } catch (error) {
      message.textContent = error.name === "AbortError" ? "The tap has ended." : String(error);
    }
    begin.disabled = false;
    end.disabled = true;
  });
}

document.addEventListener("DOMContentLoaded", () => {
  if (!document.querySelector("#link")) return;
  loadSamples();
  addPause();
  keepFocus();
  addLimit();
  addTap();
  if (samples.length > 0) makeCharts(samples.at(-1));
  listen();
  const again = () => samples.length > 0 && makeCharts(samples.at(-1));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", again);
});

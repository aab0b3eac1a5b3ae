"use strict";
// Draws the charts of the page from the runs of `qgemm bench --json` in it. Text from files goes into the page as text only.

const runs = JSON.parse(document.getElementById("runs").textContent);
const OURS = "qgemm";
const COLORS = ["var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)"];
const id = (name) => document.getElementById(name);
const shapeOf = (c) => `${c.m}x${c.k}x${c.n}`;
const macs = (c) => c.m * c.k * c.n;
const unique = (list) => [...new Set(list)];
const sortedBy = (list, key) => [...list].sort((a, b) => key(a) - key(b));

function seconds(s) {
  const [value, unit] = s < 1e-6 ? [s * 1e9, "ns"] : s < 1e-3 ? [s * 1e6, "us"] : s < 1 ? [s * 1e3, "ms"] : [s, "s"];
  return `${value.toPrecision(3)} ${unit}`;
}

function element(name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat());
  return made;
}

// A run's CPU in words; runs on the same CPU are shown together, whether they might use one core of it or all.
function cpuOf({ machine: { cpu } }) {
  return cpu.family === null ? cpu.brand : `${cpu.brand}, family ${cpu.family} model ${cpu.model}`;
}

// All cases with their runs' CPU and threads.
const cases = runs.flatMap((run) =>
  run.cases.map((c) => ({ ...c, cpu: cpuOf(run), threads: run.run.threads, caller: run.run.caller })));

// Of cases that are equal but for their times, that with the least one.
function best(list, key) {
  const found = new Map();
  for (const c of list) {
    const other = found.get(key(c));
    if (!other || c.least < other.least) found.set(key(c), c);
  }
  return [...found.values()];
}

const filter = { cpu: null, threads: null, kernel: "", variant: null };

const ofCpu = () => cases.filter((c) => c.cpu === filter.cpu);
const ofThreads = () => ofCpu().filter((c) => c.threads === filter.threads);
const ours = (list) => list.filter((c) => c.library === OURS && (!filter.kernel || c.kernel === filter.kernel));
const shown = () => ofThreads().filter((c) => c.variant === filter.variant);

// The highest rates of the limits of the shown runs, by kind and name.
function limits(kind) {
  const of = runs.filter((run) => cpuOf(run) === filter.cpu && run.run.threads === filter.threads)
    .flatMap((run) => run.limits.filter((limit) => limit.kind === kind));
  const found = new Map();
  for (const limit of of) {
    if (!found.has(limit.name) || found.get(limit.name).rate < limit.rate) found.set(limit.name, limit);
  }
  return [...found.values()];
}

// Charts fill their section, and have this font whatever the width.
const frame = (chart) => ({
  width: Math.max(300, chart.clientWidth),
  marginBottom: 42,
  style: { fontFamily: "inherit", fontSize: "12px", overflow: "visible" },
});

// A colour for each library or variant: qgemm's own for qgemm.
function colors(names) {
  const others = names.filter((name) => name !== OURS);
  return new Map(names.map((name) => [name, name === OURS ? "var(--ours)" : COLORS[others.indexOf(name) % COLORS.length]]));
}

function legend(colored) {
  const item = ([name, color]) => {
    const swatch = document.createElement("i");
    swatch.style.background = color;
    return element("li", [swatch, name]);
  };
  return element("ul", [...colored].map(item), { className: "legend" });
}

// Shows a chart in its section, and its numbers below it. Without rows it says why there is nothing to see.
function show(name, { rows, columns, draw, nothing }) {
  const section = id(name);
  const chart = section.querySelector(".chart");
  section.querySelector("details")?.remove();
  if (rows.length === 0) {
    chart.replaceChildren(element("p", nothing, { className: "none" }));
    return;
  }
  chart.replaceChildren(...[draw(chart)].flat());
  chart.querySelectorAll("svg").forEach((svg) => svg.setAttribute("role", "img"));
  const cell = (row) => ([, value, word]) => element("td", String(value(row)), { className: word ? "word" : "" });
  const table = element("table", [
    element("thead", element("tr", columns.map(([title]) => element("th", title, { scope: "col" })))),
    element("tbody", rows.map((row) => element("tr", columns.map(cell(row))))),
  ]);
  const numbers = element("div", table, { className: "numbers", tabIndex: 0 });
  numbers.setAttribute("role", "region");
  numbers.setAttribute("aria-label", `${section.querySelector("h2").textContent}, as numbers`);
  section.append(element("details", [element("summary", `Numbers (${rows.length})`), numbers]));
}

const SHAPE = ["M x K x N", shapeOf, true];
const TIME = ["time", (c) => seconds(c.least)];
const MEDIAN = ["median", (c) => seconds(c.median)];
const RATE = ["GMAC/s", (c) => c.rate.toFixed(1)];
const LIBRARY = ["library", (c) => `${c.library} ${c.version}`, true];
const KERNEL = ["kernel", (c) => c.kernel, true];
const EXACT = ["exact", (c) => (c.exact ? "yes" : "no"), true];

function ratio() {
  const byShape = (list) => new Map(best(list, shapeOf).map((c) => [shapeOf(c), c]));
  const other = byShape(shown().filter((c) => c.library !== OURS));
  const rows = [...byShape(ours(shown())).values()].filter((c) => other.has(shapeOf(c)))
    .map((c) => ({ ...c, other: other.get(shapeOf(c)), ratio: other.get(shapeOf(c)).least / c.least }));
  const order = sortedBy(rows, (row) => -row.ratio);
  show("ratio", {
    rows: order,
    columns: [SHAPE, ["times as fast", (row) => row.ratio.toFixed(2)], RATE, KERNEL,
      ["other GMAC/s", (row) => row.other.rate.toFixed(1)],
      ["other", (row) => `${row.other.library} ${row.other.version}`, true], ["other exact", (row) => EXACT[1](row.other), true]],
    nothing: "No other library was measured for this work. qgemm bench --compare does so.",
    draw: (chart) => Plot.plot({
      ...frame(chart),
      height: 22 * rows.length + 60,
      marginLeft: 125,
      marginRight: 40,
      x: { type: "log", label: "times as fast as the best other", domain: wide(rows.map((row) => row.ratio)),
        ticks: [0.25, 0.5, 1, 2, 4, 8, 16], tickFormat: String },
      y: { label: null, domain: order.map(shapeOf) },
      ariaLabel: "Ratio of speeds by shape",
      ariaDescription: `qgemm is ahead in ${rows.filter((row) => row.ratio >= 1).length} of ${rows.length} shapes`,
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: [0.25, 0.5, 1, 2, 4, 8] }),
        Plot.barX(order, { x1: 1, x2: "ratio", y: shapeOf, fill: (row) => (row.ratio >= 1 ? "var(--ours)" : "var(--behind)") }),
        Plot.ruleX([1], { stroke: "var(--text)" }),
        Plot.text(order, { x: "ratio", y: shapeOf, text: (row) => row.ratio.toFixed(2), fill: "var(--text)",
          textAnchor: "start", dx: 4, filter: (row) => row.ratio >= 1 }),
        Plot.text(order, { x: "ratio", y: shapeOf, text: (row) => row.ratio.toFixed(2), fill: "var(--text)",
          textAnchor: "end", dx: -4, filter: (row) => row.ratio < 1 }),
        hover(order, { x: "ratio", y: shapeOf },
          (row) => `${row.ratio.toFixed(2)} times as fast\n${row.kernel}: ${row.rate.toFixed(1)} GMAC/s\n` +
            `${row.other.library} ${row.other.version}: ${row.other.rate.toFixed(1)}`, Plot.pointerY),
      ],
    }),
  });
}

// The range of some positive numbers and 1, a little wider; and with room for a number beside each bar.
function span(values) {
  return [Math.min(1, ...values) / 1.15, Math.max(1, ...values) * 1.15];
}

function wide(values) {
  const [from, to] = span(values);
  const room = (to / from) ** 0.15;
  return [from / room, to * room];
}

// Text beside what the pointer is near.
function hover(rows, channels, title, pointer = Plot.pointer) {
  return Plot.tip(rows, pointer({ ...channels, title, fill: "var(--card)", stroke: "var(--line)" }));
}

function roofline() {
  const rows = sortedBy(best(ours(shown()), shapeOf), macs).map((c) => ({ ...c, intensity: macs(c) / c.bytes }));
  const peaks = limits("peak").filter((peak) => rows.some((row) => row.kernel.startsWith(`${peak.isa}-`)));
  const reads = limits("read");
  const xs = span(rows.map((row) => row.intensity));
  const top = Math.max(...peaks.map((peak) => peak.rate), ...rows.map((row) => row.rate));
  const chart = id("roofline").querySelector(".chart");
  const slope = ({ name, rate }) => {
    // From the left edge to where the fastest instruction takes over.
    const right = Math.min(xs[1], top / rate);
    const text = chart.clientWidth < 600 ? name : `${name}, ${rate.toFixed(0)} GB/s`;
    return right <= xs[0] ? [] : [xs[0], right].map((x) => ({ x, y: x * rate, name: text }));
  };
  const slopes = reads.flatMap(slope);
  show("roofline", {
    rows,
    columns: [SHAPE, KERNEL, TIME, MEDIAN, RATE, ["MAC/byte", (row) => row.intensity.toFixed(1)],
      ["limit", (row) => row.limit ?? "", true], ["of limit", (row) => (row.share ? `${(100 * row.share).toFixed(0)} %` : "")]],
    nothing: "This kernel was not measured for this work.",
    draw: (chart) => Plot.plot({
      ...frame(chart),
      height: 420,
      marginLeft: 55,
      marginRight: 20,
      x: { type: "log", label: "multiply-adds for each byte of A, B and C", domain: xs, tickFormat: (x) => String(+x.toPrecision(3)),
        ticks: 5 },
      y: { type: "log", label: "GMAC/s", domain: [Math.min(...rows.map((row) => row.rate)) / 1.5, top * 1.3], ticks: 5,
        tickFormat: (y) => String(+y.toPrecision(3)) },
      ariaLabel: "Speed against multiply-adds for each byte, with the limits of the machine",
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.ruleY(peaks, { y: "rate", stroke: "var(--text)" }),
        Plot.text(peaks, { x: xs[1], y: "rate", text: (peak) => `${peak.name}, ${peak.rate.toFixed(0)}`, textAnchor: "end", dy: -7,
          fill: "var(--text)" }),
        Plot.line(slopes, { x: "x", y: "y", z: "name", stroke: "var(--quiet)", clip: true }),
        Plot.text(slopes.filter((_, i) => i % 2 === 1), { x: "x", y: "y", text: "name", fill: "var(--quiet)", textAnchor: "end",
          dx: -10, dy: -2 }),
        Plot.dot(rows, { x: "intensity", y: "rate", r: 5, fill: "var(--ours)", stroke: "var(--card)" }),
        hover(rows, { x: "intensity", y: "rate" },
          (row) => `${shapeOf(row)}\n${row.rate.toFixed(1)} GMAC/s, ${seconds(row.least)}` +
            (row.share ? `\n${(100 * row.share).toFixed(0)} % of ${row.limit}` : "")),
      ],
    }),
  });
}

function gemv() {
  const one = shown().filter((c) => c.m === 1 && c.bytes > 1e6);
  const mine = best(ours(one), shapeOf);
  const theirs = best(one.filter((c) => c.library !== OURS), (c) => shapeOf(c) + c.library);
  const rows = sortedBy([...mine, ...theirs].map((c) => ({ ...c, read: c.bytes / c.least / 1e9 })), (c) => c.bytes);
  const names = unique([OURS, ...theirs.map((c) => c.library)]);
  const colored = colors(names);
  const reads = limits("read").filter((limit) => limit.name !== "L2");
  show("gemv", {
    rows,
    columns: [SHAPE, LIBRARY, KERNEL, TIME, ["GB/s", (c) => c.read.toFixed(1)], RATE, EXACT],
    nothing: "No product with one row of A and more than a megabyte of weights was measured for this work.",
    draw: (chart) => [legend(colored), Plot.plot({
      ...frame(chart),
      height: unique(rows.map(shapeOf)).length * (20 * names.length + 14) + 70,
      marginLeft: 125,
      marginRight: 30,
      marginTop: 24,
      x: { label: "GB/s", domain: [0, 1.1 * Math.max(...rows.map((c) => c.read), ...reads.map((r) => r.rate))] },
      y: { axis: null, domain: names },
      fy: { label: null, domain: unique(rows.map(shapeOf)), axis: "left", padding: 0.15 },
      ariaLabel: "Bytes read in a second by shape and library",
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.barX(rows, { x: "read", y: "library", fy: shapeOf, fill: (c) => colored.get(c.library) }),
        Plot.ruleX(reads, { x: "rate", stroke: "var(--text)", strokeDasharray: "4 3" }),
        Plot.text(reads, { x: "rate", fy: () => shapeOf(rows[0]), text: "name", frameAnchor: "top", dy: -12, fill: "var(--text)" }),
        Plot.ruleX([0], { stroke: "var(--text)" }),
      ],
    })],
  });
}

function size() {
  const mine = best(ours(shown()), shapeOf);
  const theirs = best(shown().filter((c) => c.library !== OURS), (c) => shapeOf(c) + c.library);
  const rows = sortedBy([...mine, ...theirs], macs);
  const colored = colors(unique([OURS, ...theirs.map((c) => c.library)]));
  const calls = limits("call").filter((call) => mine.some((c) => c.kernel.startsWith(`${call.isa}-`)));
  show("size", {
    rows,
    columns: [SHAPE, LIBRARY, KERNEL, TIME, MEDIAN, RATE, EXACT],
    nothing: "This kernel was not measured for this work.",
    draw: (chart) => [legend(colored), Plot.plot({
      ...frame(chart),
      height: 380,
      marginLeft: 60,
      marginRight: 20,
      x: { type: "log", label: "multiply-adds", ticks: 5, tickFormat: "~s" },
      y: { type: "log", label: "time", tickFormat: seconds, ticks: 6 },
      ariaLabel: "Time of a call against its multiply-adds",
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 6 }),
        Plot.ruleY(calls, { y: (call) => 1e-6 / call.rate, stroke: "var(--text)", strokeDasharray: "4 3" }),
        Plot.dot(rows, { x: macs, y: "least", r: 4, fill: (c) => colored.get(c.library), stroke: "var(--card)" }),
        hover(rows, { x: macs, y: "least" },
          (c) => `${c.library} ${c.version}\n${shapeOf(c)}: ${seconds(c.least)}\n${c.rate.toFixed(1)} GMAC/s`),
      ],
    })],
  });
}

function scaling() {
  const all = best(ours(ofCpu().filter((c) => c.variant === filter.variant)), (c) => `${shapeOf(c)} ${c.threads}`);
  const single = new Map(all.filter((c) => c.threads === 1).map((c) => [shapeOf(c), c]));
  const rows = sortedBy(all.filter((c) => c.threads > 1 && single.has(shapeOf(c)))
    .map((c) => ({ ...c, speedup: single.get(shapeOf(c)).least / c.least })), macs);
  const most = Math.max(...rows.map((row) => row.threads));
  const colored = colors(unique(rows.map((row) => `${row.threads} threads`)));
  show("threads-chart", {
    rows,
    columns: [SHAPE, ["threads", (row) => row.threads], ["times as fast", (row) => row.speedup.toFixed(2)], TIME, RATE],
    nothing: "Only one number of threads was measured on this CPU for this work.",
    draw: (chart) => [legend(colored), Plot.plot({
      ...frame(chart),
      height: 320,
      marginLeft: 45,
      marginRight: 20,
      x: { type: "log", label: "multiply-adds", ticks: 5, tickFormat: "~s" },
      y: { label: "times as fast as one thread", domain: [0, Math.max(most, ...rows.map((row) => row.speedup)) * 1.05] },
      ariaLabel: "Gain by more threads against multiply-adds",
      marks: [
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.ruleY([1, ...unique(rows.map((row) => row.threads))], { stroke: "var(--text)", strokeDasharray: "4 3" }),
        Plot.dot(rows, { x: macs, y: "speedup", r: 5, fill: (row) => colored.get(`${row.threads} threads`), stroke: "var(--card)" }),
        hover(rows, { x: macs, y: "speedup" },
          (row) => `${shapeOf(row)}\n${row.speedup.toFixed(2)} times as fast with ${row.threads} threads\n${row.rate.toFixed(1)} GMAC/s`),
      ],
    })],
  });
}

function groups() {
  const variants = ["w4g32", "w4g64", "w4g128", "w8g32", "w8g64", "w8g128", "f32_dynamic"];
  const of = ofThreads().filter((c) => c.library === OURS && variants.includes(c.variant));
  const rows = sortedBy(best(of, (c) => shapeOf(c) + c.variant), macs);
  const kinds = variants.filter((name) => rows.some((row) => row.variant === name));
  const colored = new Map(kinds.map((name) => [name, COLORS[variants.indexOf(name)] ?? "var(--ours)"]));
  // Shapes that were measured in one way only compare nothing.
  const shapes = unique(rows.map(shapeOf)).filter((shape) => rows.filter((row) => shapeOf(row) === shape).length > 1);
  const compared = rows.filter((row) => shapes.includes(shapeOf(row)));
  show("groups", {
    rows: compared,
    columns: [SHAPE, ["weights", (c) => c.variant, true], KERNEL, TIME, RATE],
    nothing: "No group-wise weights were measured: qgemm bench --variants w4g32,w8g32,f32_dynamic does so.",
    draw: (chart) => [legend(colored), Plot.plot({
      ...frame(chart),
      height: shapes.length * (13 * kinds.length + 12) + 60,
      marginLeft: 125,
      marginRight: 30,
      x: { label: "GMAC/s", domain: [0, 1.05 * Math.max(...compared.map((c) => c.rate))] },
      y: { axis: null, domain: kinds },
      fy: { label: null, domain: shapes, axis: "left", padding: 0.15 },
      ariaLabel: "Speed by shape and kind of weights",
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.barX(compared, { x: "rate", y: "variant", fy: shapeOf, fill: (c) => colored.get(c.variant) }),
        Plot.ruleX([0], { stroke: "var(--text)" }),
      ],
    })],
  });
}

// Fills a selector with values, each with a text, and keeps the chosen one if it is still there.
function choices(name, values, text = String) {
  const selector = id(name);
  selector.replaceChildren(...values.map((value) => element("option", text(value), { value: String(value) })));
  if (!values.includes(filter[name])) filter[name] = values[0] ?? null;
  selector.value = String(filter[name]);
  selector.disabled = values.length < 2;
}

function machine() {
  const of = runs.filter((run) => cpuOf(run) === filter.cpu && run.run.threads === filter.threads);
  const { machine: m, build, run } = of[0];
  const kib = (bytes) => `${bytes >> 10} KiB`;
  id("machine").textContent = `${m.cpu.vendor}, ${m.arch}, ${m.system}${m.virtual_machine ? ", a virtual machine" : ""}; ` +
    `caches ${kib(m.caches.l1d)}, ${kib(m.caches.l2)}, ${kib(m.caches.l3)}; qgemm ${build.version}` +
    `${build.commit ? ` (${build.commit})` : ""}, ${build.compiler}; called from a ${run.caller} thread; ` +
    of.map((one) => one.run.date.slice(0, 10)).filter((date, i, all) => all.indexOf(date) === i).join(", ") + ".";
  const told = [];
  if (of.some((one) => one.run.quick)) told.push("Each call was made once: times mean little.");
  if (of.some((one) => one.run.disturbed)) told.push("The machine was disturbed: a peak changed by more than 3 % while it was measured.");
  if (of.some((one) => !one.build.optimized)) told.push("The program was compiled without optimisations.");
  if (ofThreads().some((c) => c.library === OURS && !c.exact)) told.push("A result of qgemm was not exact.");
  id("warning").textContent = told.join(" ");
}

function update() {
  choices("cpu", unique(cases.map((c) => c.cpu)));
  choices("threads", unique(ofCpu().map((c) => c.threads)).sort((a, b) => a - b));
  choices("variant", unique(ofThreads().map((c) => c.variant)));
  const kernels = unique(shown().filter((c) => c.library === OURS).map((c) => c.kernel)).sort();
  choices("kernel", ["", ...kernels], (kernel) => kernel || "the fastest for each shape");
  machine();
  [ratio, roofline, gemv, size, scaling, groups].forEach((draw) => draw());
}

for (const name of Object.keys(filter)) {
  id(name).addEventListener("change", (event) => {
    filter[name] = name === "threads" ? Number(event.target.value) : event.target.value;
    update();
  });
}
id("made").textContent = `Made from ${runs.length} ${runs.length === 1 ? "run" : "runs"} of qgemm bench --json. ` +
  "GMAC/s are billions of multiply-adds a second, by the least time of several batches of calls.";
if (cases.length > 0) {
  update();
  let width = document.body.clientWidth;
  window.addEventListener("resize", () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    update();
  });
}

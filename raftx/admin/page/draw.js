"use strict";
// What the page is drawn with: elements, numbers as people read them, and small charts. Knows nothing of a cluster.
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}
const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const at = id => document.getElementById(id);

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const number = value => whole.format(value);
function rate(value) {
  return value >= 100 ? number(value) : value >= 9.95 ? value.toFixed(0) : value > 0.04 ? value.toFixed(1) : "0";
}
function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return (value / size).toFixed(value / size < 10 ? 1 : 0) + unit;
  return rate(value);
}
function bytes(value) {
  if (value === null || value === undefined) return ["–", ""];
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (value >= size) return [(value / size).toFixed(value / size < 10 ? 1 : 0), unit];
  return [String(value), "B"];
}
function seconds(value) {
  if (value === null || value === undefined) return ["–", ""];
  if (value < 0.001) return [(value * 1e6).toFixed(0), "µs"];
  if (value < 1) return [(value * 1e3).toFixed(value < 0.01 ? 1 : 0), "ms"];
  return [value.toFixed(value < 10 ? 1 : 0), "s"];
}
function ago(value) {
  if (value < 60) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return value < 129600 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}
const unit = pair => [pair[0], h("span", { class: "unit" }, pair[1])];
const dot = kind => h("span", { class: `dot ${kind}`, "aria-hidden": "true" });
const words = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

// A table whose cells have the titles of their columns, for a narrow screen. Roles: cards are laid out as blocks there.
function table(caption, titles, rows, kind) {
  const head = h("tr", { role: "row" }, titles.map(([title, side]) => h("th", { scope: "col", class: side, role: "columnheader" }, title)));
  return h("table", { class: kind, role: "table", "aria-label": caption }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, rows));
}
const row = (kind, ...cells) => h("tr", { class: kind, role: "row" }, cells);
const cell = (label, kind, ...children) => h("td", { "data-label": label, class: kind, role: "cell" }, h("span", {}, ...children));

function line(points, width, height, most) {
  const step = points.length > 1 ? width / (points.length - 1) : width;
  return points.map((value, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${(height - (height - 1.5) * Math.min(1, value / most)).toFixed(1)}`).join("");
}
function spark(points, label) {
  const most = Math.max(1, ...points);
  return s("svg", { class: "spark", width: 84, height: 20, viewBox: "0 0 84 20", role: "img", "aria-label": label }, s("path", { d: line(points.length > 1 ? points : [0, 0], 84, 19, most) }));
}
function nice(value) {
  const size = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map(each => each * size).find(each => each >= value);
}
// Values of the last minutes, one a second, so many pixels across; marks: how many seconds ago something happened.
function chart(across, points, room, marks, label) {
  const width = Math.max(260, across), height = 196, left = 40, most = nice(Math.max(10, ...points) * 1.05);
  const wide = width - left, x = age => width - age * wide / (room - 1);
  const lines = [0, .5, 1].map(part => {
    const y = 8 + (height - 28) * (1 - part);
    return [s("line", { x1: left, x2: width, y1: y, y2: y, class: part ? "grid" : "base" }), s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, short(most * part))];
  });
  const times = [0, 1, 2, 3].map(part => Math.round(room * part / 3)).map(age => s("text", { x: Math.max(left, x(age)), y: height - 4, "text-anchor": age ? (age === room ? "start" : "middle") : "end" }, age ? `${ago(age)} ago` : "now"));
  const found = [];
  if (points.length > 1) {
    const from = x(points.length - 1), path = points.map((value, i) => `${i ? "L" : "M"}${x(points.length - 1 - i).toFixed(1)} ${(8 + (height - 28) * (1 - value / most)).toFixed(1)}`).join("");
    found.push(s("path", { class: "fill", d: `${path}L${width} ${height - 20}L${from.toFixed(1)} ${height - 20}Z` }), s("path", { class: "line", d: path }));
  }
  const dashed = marks.filter(age => age < room).map(age => s("line", { class: "mark", x1: x(age), x2: x(age), y1: 8, y2: height - 20 }));
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img", "aria-label": label }, lines.flat(), dashed, found, times);
}
// Where in a histogram so much of it lies: in seconds, within a bucket by its logarithm.
function quantile(bounds, counts, part) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  if (!total) return null;
  let rest = total * part;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] && rest <= counts[i]) {
      if (i >= bounds.length) return bounds[bounds.length - 1];
      return bounds[i] / 2 * 2 ** (rest / counts[i]);
    }
    rest -= counts[i];
  }
  return bounds[bounds.length - 1];
}
// One row of bars for each stage, on one scale of time from first to last (numbers of buckets).
function stages(across, bounds, found, first, last) {
  const width = Math.max(300, across), left = 66, right = 118, tall = 24, gap = 7, step = (width - left - right) / (last - first + 1);
  const rows = found.map(([name, counts], i) => {
    const y = i * (tall + gap), most = Math.max(1, ...counts), total = counts.reduce((sum, each) => sum + each, 0);
    const half = quantile(bounds, counts, .5), tail = quantile(bounds, counts, .99);
    const bars = [];
    for (let b = first; b <= last; b++) {
      const high = counts[b] ? Math.max(1.5, (tall - 3) * counts[b] / most) : 0;
      const isMiddle = half !== null && half <= (bounds[b] ?? Infinity) && half > (b ? bounds[b - 1] : 0);
      if (high) bars.push(s("rect", { class: isMiddle ? "mid" : "bar", x: (left + (b - first) * step + 1).toFixed(1), y: (y + tall - high).toFixed(1), width: Math.max(1, step - 2).toFixed(1), height: high.toFixed(1), rx: 1.2 }, s("title", {}, `${name}: ${number(counts[b])} below ${b < bounds.length ? seconds(bounds[b]).join(" ") : "infinity"}`)));
    }
    const said = total ? [seconds(half).join(" "), seconds(tail).join(" ")] : ["–", "–"];
    return [s("text", { x: 0, y: y + tall - 6 }, name), s("line", { class: "base", x1: left, x2: width - right, y1: y + tall, y2: y + tall }), bars,
      s("text", { x: width - 58, y: y + tall - 6, "text-anchor": "end" }, said[0]), s("text", { x: width, y: y + tall - 6, "text-anchor": "end" }, said[1])];
  });
  const y = found.length * (tall + gap) + 10, places = [first, Math.round((first + last) / 2), last];
  const scale = places.map((b, i) => s("text", { x: i === 2 ? width - right : left + (b - first) * step, y, "text-anchor": ["start", "middle", "end"][i] }, seconds(i === 2 ? bounds[Math.min(b, bounds.length - 1)] : (b ? bounds[b - 1] : bounds[0] / 2)).join(" ")));
  scale.push(s("text", { x: width - 58, y, "text-anchor": "end" }, "median"), s("text", { x: width, y, "text-anchor": "end" }, "99 %"));
  return s("svg", { class: "stage", viewBox: `0 0 ${width} ${y + 4}`, width: "100%", role: "img", "aria-label": "Latency by stage: " + found.map(([name, counts]) => `${name} median ${seconds(quantile(bounds, counts, .5)).join(" ")}`).join(", ") }, rows.flat(2), scale);
}

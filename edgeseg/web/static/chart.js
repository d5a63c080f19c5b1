// Occupancy over time: a line of means in a band from minimum to maximum, for each class.

import { el, svg } from "./dom.js";
import { clock, duration, moment, percent } from "./words.js";

const MARGIN = { top: 10, right: 84, bottom: 22, left: 40 };
const HEIGHT_PX = 150;
const TOPS = [0.05, 0.1, 0.25, 0.5, 1];
const STEPS_S = [300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];
const LABEL_PX = 14;

/** A chart that draws itself anew when it is given data or another width.
 *
 * data: {from, to: ms, series: [{name, colour, points: [{t, min, mean, max}]}], spanMs, threshold, spells}
 * Points that are further apart than 1.5 spans are not joined: nothing is known between them.
 */
export class HistoryChart {
  constructor(title) {
    this.title = title;
    this.drawing = svg("svg", { class: "chart", role: "img", height: HEIGHT_PX });
    this.reading = el("p", { class: "chart-reading", "aria-hidden": "true" });
    this.node = el("figure", { class: "history" }, this.drawing, this.reading);
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.node);
    this.drawing.addEventListener("pointermove", (event) => this.#point(event));
    this.drawing.addEventListener("pointerleave", () => this.#unpoint());
  }

  show(data) {
    this.data = data;
    this.draw();
  }

  draw() {
    const { data } = this;
    const width = Math.floor(this.node.clientWidth);
    if (!data || width < 120) return;
    const right = width - MARGIN.right, bottom = HEIGHT_PX - MARGIN.bottom;
    const top = topOf(data);
    this.x = (t) => MARGIN.left + ((t - data.from) / (data.to - data.from)) * (right - MARGIN.left);
    this.y = (share) => bottom - (share / top) * (bottom - MARGIN.top);
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT_PX}`);
    this.drawing.setAttribute("width", width);
    this.drawing.setAttribute("aria-label", this.#summary());
    this.cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
    this.drawing.replaceChildren(
      ...this.#spells(bottom), ...this.#grid(width, top, right, bottom), ...data.series.map((one) => this.#series(one)),
      ...this.#threshold(right), ...this.#names(right, bottom), this.cursor,
    );
    if (!data.series.some((one) => one.points.length)) {
      this.drawing.append(svg("text", { class: "empty", x: (MARGIN.left + right) / 2, y: HEIGHT_PX / 2 }, "nothing recorded yet"));
    }
  }

  #summary() {
    const parts = this.data.series.filter((one) => one.points.length).map((one) => {
      const most = one.points.reduce((best, point) => (point.max > best.max ? point : best));
      return `${one.name}: now ${percent(one.points.at(-1).mean)}, most ${percent(most.max)} at ${clock(most.t)}`;
    });
    const span = duration((this.data.to - this.data.from) / 1000);
    return `${this.title}, the last ${span}. ${parts.join("; ") || "Nothing recorded yet"}.`;
  }

  #grid(width, top, right, bottom) {
    const lines = [0, top / 2, top].map((share) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: this.y(share), y2: this.y(share) }),
      svg("text", { class: "axis", x: MARGIN.left - 6, y: this.y(share) + 4, "text-anchor": "end" }, `${+(100 * share).toFixed(1)} %`),
    ]);
    const spanS = (this.data.to - this.data.from) / 1000, most = Math.max(2, (right - MARGIN.left) / 90);
    const stepMs = 1000 * (STEPS_S.find((step) => spanS / step <= most) ?? STEPS_S.at(-1));
    const offset = new Date(this.data.to).getTimezoneOffset() * 60000;
    for (let t = Math.ceil((this.data.from - offset) / stepMs) * stepMs + offset; t <= this.data.to; t += stepMs) {
      const near = Math.min(Math.max(this.x(t), MARGIN.left + 16), right - 16);
      lines.push(svg("line", { class: "tick", x1: this.x(t), x2: this.x(t), y1: bottom, y2: bottom + 4 }));
      lines.push(svg("text", { class: "axis", x: near, y: HEIGHT_PX - 5, "text-anchor": "middle" }, stepMs >= 86400000 ? moment(t).split(",")[0] : clock(t)));
    }
    return lines.flat();
  }

  #series({ colour, points }) {
    const group = svg("g", { class: "series", style: { color: colour } });
    for (const run of runs(points, 1.5 * this.data.spanMs)) {
      const upper = run.map((point) => `${this.x(point.t)},${this.y(point.max)}`);
      const lower = run.map((point) => `${this.x(point.t)},${this.y(point.min)}`).reverse();
      group.append(svg("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
      group.append(svg("polyline", { class: "mean", points: run.map((point) => `${this.x(point.t)},${this.y(point.mean)}`).join(" ") }));
      if (run.length === 1) group.append(svg("circle", { class: "dot", r: 2, cx: this.x(run[0].t), cy: this.y(run[0].mean) }));
    }
    return group;
  }

  /** Names beside the ends of the lines, moved apart where they would overlap. */
  #names(right, bottom) {
    const ends = this.data.series.filter((one) => one.points.length)
      .map((one) => ({ ...one, y: this.y(one.points.at(-1).mean) })).sort((a, b) => a.y - b.y);
    let least = MARGIN.top;
    for (const end of ends) least = (end.y = Math.max(end.y, least)) + LABEL_PX;
    let most = bottom;
    for (const end of [...ends].reverse()) most = (end.y = Math.min(end.y, most)) - LABEL_PX;
    return ends.map((end) => svg("text", { class: "name", x: right + 6, y: end.y + 4, style: { color: end.colour } }, end.name));
  }

  #threshold(right) {
    const { threshold } = this.data;
    if (!threshold || this.y(threshold) < 0) return [];
    return [svg("line", { class: "threshold", x1: MARGIN.left, x2: right, y1: this.y(threshold), y2: this.y(threshold) })];
  }

  #spells(bottom) {
    return (this.data.spells ?? []).map(({ from, to }) => svg("rect", {
      class: "spell", x: this.x(Math.max(from, this.data.from)), y: MARGIN.top, height: bottom - MARGIN.top,
      width: Math.max(1.5, this.x(to ?? this.data.to) - this.x(Math.max(from, this.data.from))),
    }));
  }

  #point(event) {
    if (!this.data?.series.length) return;
    const box = this.drawing.getBoundingClientRect();
    const t = this.data.from + ((event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right)) * (this.data.to - this.data.from);
    const found = this.data.series.map((one) => [one, nearest(one.points, t, this.data.spanMs)]).filter(([, point]) => point);
    if (!found.length) return this.#unpoint();
    const at = this.x(found[0][1].t);
    this.cursor.setAttribute("x1", at);
    this.cursor.setAttribute("x2", at);
    this.cursor.setAttribute("visibility", "visible");
    this.reading.textContent = `${moment(found[0][1].t)}: ` + found.map(([one, point]) =>
      `${one.name} ${percent(point.mean)} (${percent(point.min)} to ${percent(point.max)})`).join(", ");
  }

  #unpoint() {
    this.cursor?.setAttribute("visibility", "hidden");
    this.reading.textContent = "";
  }
}

function topOf({ series, threshold }) {
  const most = Math.max(threshold ?? 0, ...series.flatMap((one) => one.points.map((point) => point.max)), 0.01);
  return TOPS.find((top) => most <= top) ?? 1;
}

function runs(points, gapMs) {
  const found = [];
  for (const point of points) {
    const last = found.at(-1)?.at(-1);
    if (last && point.t - last.t <= gapMs) found.at(-1).push(point);
    else found.push([point]);
  }
  return found;
}

function nearest(points, t, spanMs) {
  let best = null;
  for (const point of points) if (!best || Math.abs(point.t - t) < Math.abs(best.t - t)) best = point;
  return best && Math.abs(best.t - t) <= 1.5 * spanMs ? best : null;
}

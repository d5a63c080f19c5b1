// Alerts: what was, what is, and why.

import { isGround, legible } from "./colours.js";
import { el, svg } from "./dom.js";
import { alertTitle, duration, endWords, moment, percent } from "./words.js";

const SHOWN = 30;
const TRACE = { width: 120, height: 28 };

/** The list of alerts, the newest first. */
export class AlertList {
  constructor(live) {
    this.live = live;
    this.items = new Map();
    this.list = el("ol", { class: "alert-list", role: "list" });
    this.empty = el("p", { class: "hint" }, "No alerts. They appear here when a rule of a zone begins.");
    this.count = el("span", { class: "count" });
    this.node = el("aside", { class: "alerts", "aria-labelledby": "alerts-title" },
      el("h2", { id: "alerts-title" }, "Alerts ", this.count), this.empty, this.list);
  }

  update() {
    const alerts = this.live.alerts.slice(0, SHOWN);
    const on = alerts.filter((one) => one.event !== "end").length;
    this.count.textContent = on ? `${on} on` : "";
    this.empty.hidden = alerts.length > 0;
    this.list.replaceChildren(...alerts.map((alert) => this.#kept(alert)));
    const shown = new Set(alerts.map((one) => one.id));
    for (const id of this.items.keys()) if (!shown.has(id)) this.items.delete(id);
  }

  /** In other colours. */
  repaint() {
    this.items.clear();
    this.update();
  }

  /** Made anew only where the alert has something new to say: its pictures would be fetched again. */
  #kept(alert) {
    const known = this.items.get(alert.id);
    if (known?.seq === alert.seq) return known.item;
    const item = this.#item(alert);
    this.items.set(alert.id, { seq: alert.seq, item });
    return item;
  }

  #item(alert) {
    const camera = this.live.camera(alert.camera);
    const zone = camera?.zones.find((one) => one.name === alert.zone);
    const over = alert.event === "end";
    const began = Date.parse(alert.began_at), ended = alert.ended_at && Date.parse(alert.ended_at);
    const lasted = duration(((ended ?? Date.parse(alert.at)) - began) / 1000);
    return el("li", { class: `alert ${over ? "over" : "on"}`, "data-alert": alert.id },
      el("div", { class: "alert-head" }, el("h3", {}, alertTitle(alert, zone?.title)),
        el("span", { class: `state ${over ? "wait" : "bad"}` }, over ? "Over" : "On")),
      el("p", { class: "alert-when" }, el("time", { datetime: alert.began_at }, moment(began)), ` · ${over ? `lasted ${lasted}` : `for ${lasted}`}`,
        over && alert.end_reason !== "cleared" ? ` · ${endWords(alert.end_reason)}` : "", ` · ${alert.camera}`, alert.zone ? ` · rule ${alert.rule}` : ""),
      alert.zone ? el("div", { class: "scenes" }, scene("Before", alert.before, camera), scene(over ? "At its end" : "Now", alert.after, camera)) : null,
      shots(alert),
      this.#evidence(alert));
  }

  #evidence({ evidence, kind, event }) {
    if (!evidence || evidence.value === null) return null;
    const than = kind === "occupied" ? "at least" : "less than";
    const threshold = evidence.threshold === null ? "" : `${than} ${percent(evidence.threshold)} for ${duration(evidence.for_s)}`;
    // What is over has another share than the one it began with.
    const share = event === "end" ? "" : `${percent(evidence.value)}, `;
    return el("div", { class: "evidence" }, el("p", {}, `${evidence.classes.join(" or ")} ${share}${threshold}`), trace(evidence));
  }
}

function scene(title, { coverage }, camera) {
  const classes = (camera?.classes ?? []).filter((one) => !isGround(one) && (coverage?.[one.name] ?? 0) >= 0.005)
    .sort((a, b) => coverage[b.name] - coverage[a.name]);
  const words = coverage === null ? "unknown" : classes.slice(0, 2).map((one) => `${one.name} ${percent(coverage[one.name])}`).join(", ") || "clear";
  return el("div", { class: "scene" }, el("span", { class: "scene-title" }, title),
    el("div", { class: "bar", "aria-hidden": "true" }, classes.map((one) => el("span", { style: { width: `${100 * coverage[one.name]}%`, background: legible(one.colour) } }))),
    el("span", { class: "scene-words" }, words));
}

/** Pictures that are kept of it, and its clip. They are on disk a moment after the alert; what is not (any more)
 * does not show. */
function shots({ id, zone, evidence }) {
  const names = evidence?.pictures ?? [];
  if (!names.length && !evidence?.clip) return null;
  const at = `/api/v1/alerts/${id}`;
  const gone = (event) => event.target.parentElement.remove();
  return el("div", { class: "shots" },
    names.map((name) => name.includes("-before.") ? "before" : "after").map((part) =>
      el("a", { href: `${at}/pictures/${part}`, target: "_blank" },
        el("img", { src: `${at}/pictures/${part}`, alt: part === "before" ? `${zone} when it began` : `${zone} when the alert was raised`, loading: "lazy", onerror: gone }))),
    evidence.clip ? el("a", { href: `${at}/clip`, target: "_blank" }, "Clip") : null);
}

/** The observations that led to it, as a line without scales. */
function trace({ trace: points, threshold }) {
  const known = points.filter((point) => point.value !== null);
  if (known.length < 2) return null;
  const from = Date.parse(known[0].captured_at), to = Date.parse(known.at(-1).captured_at);
  const top = Math.max(...known.map((point) => point.value), threshold ?? 0, 0.01) * 1.1;
  const x = (point) => ((Date.parse(point.captured_at) - from) / Math.max(to - from, 1)) * TRACE.width;
  const y = (value) => TRACE.height - (value / top) * TRACE.height;
  return svg("svg", { class: "trace", viewBox: `0 0 ${TRACE.width} ${TRACE.height}`, "aria-hidden": "true", preserveAspectRatio: "none" },
    threshold === null ? null : svg("line", { class: "threshold", x1: 0, x2: TRACE.width, y1: y(threshold), y2: y(threshold) }),
    svg("polyline", { class: "mean", points: known.map((point) => `${x(point)},${y(point.value)}`).join(" ") }));
}

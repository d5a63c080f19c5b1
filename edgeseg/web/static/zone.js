// One zone of the dashboard: what covers it now, its rules, and how it has been.

import { api, Refused } from "./api.js";
import { HistoryChart } from "./chart.js";
import { isGround, legible, onThemeChange } from "./colours.js";
import { el, icon, ICONS, say } from "./dom.js";
import { duration, percent, reasonWords } from "./words.js";

const MOST_LINES = 4;
const HISTORY_EVERY_MS = 30000;
// A line for what was hardly there says nothing.
const LEAST_LINE = 0.005;
const LEAST_SPAN_MS = 600000;

/** Ranges to look back: hours, and the steps that are kept for so long. */
export const RANGES = [
  { hours: 1, resolution: "1m", label: "1 hour" },
  { hours: 3, resolution: "1m", label: "3 hours" },
  { hours: 12, resolution: "1m", label: "12 hours" },
  { hours: 24, resolution: "15m", label: "1 day" },
  { hours: 168, resolution: "15m", label: "7 days" },
];

export class ZoneRow {
  constructor(live, camera, zone, range) {
    Object.assign(this, { live, camera, zone, range });
    this.headline = el("p", { class: "zone-now" });
    this.bar = el("div", { class: "bar", "aria-hidden": "true" });
    this.parts = el("p", { class: "zone-parts" });
    this.rules = el("ul", { class: "rules", "aria-label": `Rules of ${zone.title}` });
    this.chart = new HistoryChart(`Occupancy of ${zone.title}`);
    const edit = `#/edit/${camera.name}/${zone.name}`;
    this.node = el("li", { class: "zone", "data-zone": zone.name },
      el("div", { class: "zone-head" }, el("h3", {}, zone.title), this.headline,
        el("a", { class: "button quiet", href: edit, "aria-label": `Edit zone ${zone.title}` }, icon(ICONS.pen), "Edit")),
      this.bar, this.parts, zone.rules.length ? this.rules : null, this.chart.node);
    this.sight = new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; if (this.seen) this.#history(); });
    this.sight.observe(this.node);
    this.timer = setInterval(() => this.#history(), HISTORY_EVERY_MS);
    this.unthemed = onThemeChange(() => { this.update(); this.#drawHistory(); });
    this.update();
    this.updateRules();
  }

  close() {
    this.unthemed();
    clearInterval(this.timer);
    this.sight.disconnect();
    this.chart.watcher.disconnect();
  }

  /** The names that the zone's rules ask for; else all classes that are something. */
  get asked() {
    const named = [...new Set(this.zone.rules.flatMap((rule) => rule.classes))];
    return named.length ? named : this.camera.classes.filter((one) => !isGround(one)).map((one) => one.name);
  }

  update() {
    const now = this.live.of(this.camera.name, this.zone.name);
    const known = now?.state === "ok";
    this.node.classList.toggle("unknown", !known);
    if (!known) {
      say(this.headline, "Unknown");
      say(this.parts, sentence(reasonWords(now?.reason ?? "starting")));
      this.parts.hidden = false;
      this.bar.replaceChildren();
      return;
    }
    const shares = this.asked.map((name) => [name, now.coverage[name] ?? 0]).sort((a, b) => b[1] - a[1]);
    const there = shares.filter(([, share]) => share >= 0.0005);
    say(this.headline, there.length ? `${there[0][0]} ${percent(there[0][1])}` : "Clear");
    const classes = this.camera.classes.filter((one) => !isGround(one) && (now.coverage[one.name] ?? 0) >= 0.0005)
      .sort((a, b) => now.coverage[b.name] - now.coverage[a.name]);
    this.bar.replaceChildren(...classes.map((one) => el("span", { style: { width: `${100 * now.coverage[one.name]}%`, background: legible(one.colour) } })),
      ...(now.uncertain > 0.0005 ? [el("span", { class: "uncertain", style: { width: `${100 * now.uncertain}%` } })] : []));
    const said = classes.slice(0, MOST_LINES).map((one) => `${one.name} ${percent(now.coverage[one.name])}`);
    if (now.uncertain > 0.0005) said.push(`uncertain ${percent(now.uncertain)}`);
    // One class alone stands in the headline already.
    const more = said.length > (there.length ? 1 : 0);
    say(this.parts, more ? said.join(", ") : "");
    this.parts.hidden = !more;
  }

  updateRules() {
    this.rules.replaceChildren(...this.zone.rules.map((rule) => {
      const on = rule.state === "ON";
      const tone = on ? "alarm" : rule.state === "unknown" ? "wait" : "calm";
      const condition = rule.unlike === "normal" ? "it looks unlike normal for the hour"
        : rule.unlike ? "it has slowly become another thing"
        : rule.enter === null ? "another class than usual covers most"
        : `${rule.classes.join(" or ")} ${rule.kind === "occupied" ? "at least" : "below"} ${percent(rule.enter)}`;
      return el("li", { class: `rule ${tone}`, "data-rule": rule.name },
        el("strong", {}, rule.name), ` ${on ? "on" : rule.state === "unknown" ? "unknown" : "off"}`,
        el("span", { class: "condition" }, `${condition} for ${duration(rule.for_s)}`));
    }));
    this.node.classList.toggle("alarmed", this.zone.rules.some((rule) => rule.state === "ON"));
  }

  setRange(range) {
    this.range = range;
    this.#history();
  }

  async #history() {
    if (!this.seen || document.hidden) return;
    const to = Date.now(), from = to - this.range.hours * 3600000;
    try {
      const { steps, step_s } = await api.history(this.camera.name, this.zone.name, this.range.resolution, from);
      this.past = { steps, spanMs: 1000 * step_s, from, to };
      this.#drawHistory();
    } catch (error) {
      // What was drawn stays; the header says that the device is away.
      if (!(error instanceof Refused)) throw error;
    }
  }

  #drawHistory() {
    if (!this.past) return;
    const { steps, spanMs, to } = this.past;
    // A device that has not watched for that long fills the chart all the same.
    const from = Math.max(this.past.from, Math.min(steps.length ? Date.parse(steps[0].at) : to, to - LEAST_SPAN_MS));
    const lines = this.asked.map((name) => seriesOf(name, this.camera, steps, spanMs));
    const most = (line) => Math.max(...line.points.map((point) => point.max), 0);
    const shown = lines.filter((line) => most(line) >= LEAST_LINE).sort((a, b) => most(b) - most(a)).slice(0, MOST_LINES);
    const threshold = this.zone.rules.find((rule) => rule.enter !== null && rule.kind !== "changed")?.enter;
    this.chart.show({ from, to, spanMs, threshold, series: shown.length ? shown : lines.slice(0, 1) });
  }
}

/** One class or group of a history, for a chart. A class that a known step does not name was absent. */
export function seriesOf(name, camera, steps, spanMs) {
  const member = camera.groups[name]?.[0] ?? name;
  const colour = camera.classes.find((one) => one.name === member)?.colour ?? "#808080";
  const points = steps.filter((step) => step.known_s > 0).map((step) => {
    const { min = 0, mean = 0, max = 0 } = step.classes[name] ?? {};
    // The step under way has its middle still to come.
    return { t: Math.min(Date.parse(step.at) + spanMs / 2, Date.now()), min, mean, max };
  });
  return { name, colour: legible(colour), points };
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

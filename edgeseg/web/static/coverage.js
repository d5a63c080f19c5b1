// What the newest picture shows in a draft, measured anew as it is drawn.

import { api, Refused } from "./api.js";
import { isGround, legible } from "./colours.js";
import { el } from "./dom.js";
import { area } from "./geometry.js";
import { clockSeconds, percent } from "./words.js";
import { draftOf } from "./zonefile.js";

const AFTER_CHANGE_MS = 90;
const AFTER_PICTURE_MS = 900;
const SHOWN = 6;

export class Coverage {
  /** zone: () => the zone of the file, for its confidence. */
  constructor(live, camera, draft, zone) {
    Object.assign(this, { live, camera, draft, zone });
    this.list = el("ul", { class: "coverage-list" });
    this.when = el("p", { class: "hint" });
    this.node = el("section", { class: "panel-part coverage", "aria-labelledby": "coverage-title" }, el("h2", { id: "coverage-title" }, "Covered now"), this.list, this.when);
    this.heard = ({ detail }) => { if (detail.camera === camera.name) this.#soon(AFTER_PICTURE_MS); };
    live.addEventListener("picture", this.heard);
    draft.addEventListener("change", () => this.#soon(AFTER_CHANGE_MS));
    this.#soon(0);
  }

  close() {
    this.live.removeEventListener("picture", this.heard);
    clearTimeout(this.timer);
    this.asking?.abort();
  }

  /** The sooner of what was asked for. */
  #soon(pauseMs) {
    const due = performance.now() + pauseMs;
    if (this.timer && this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => { this.timer = null; this.#measure(); }, pauseMs);
  }

  async #measure() {
    const { draft } = this;
    if (!draft.hasArea) return this.#say("Draw the zone, and what covers it is measured here.");
    if (document.hidden) return;
    this.asking?.abort();
    const asking = this.asking = new AbortController();
    try {
      const found = await api.measure(this.camera.name, draftOf(this.zone(), draft.closed), asking.signal);
      this.#show(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refused)) throw error;
      this.#say(error.problems[0]?.message ?? error.message);
    }
  }

  #say(words) {
    this.list.replaceChildren();
    this.when.textContent = words;
  }

  #show({ coverage, uncertain, captured_at }) {
    const rows = this.camera.classes.filter((one) => (coverage[one.name] ?? 0) >= 0.0005)
      .sort((a, b) => coverage[b.name] - coverage[a.name]).slice(0, SHOWN)
      .map((one) => row(one.name, coverage[one.name], isGround(one) ? null : legible(one.colour)));
    if (uncertain > 0.0005) rows.push(row("uncertain", uncertain, null));
    this.list.replaceChildren(...rows);
    const size = this.draft.closed.reduce((sum, ring) => sum + (ring.kind === "include" ? 1 : -1) * area(ring.points), 0);
    this.when.textContent = `In the picture of ${clockSeconds(Date.parse(captured_at))}; the zone is about ${percent(Math.max(size, 0))} of it.`;
  }
}

function row(name, share, colour) {
  return el("li", { "data-class": name }, el("span", { class: "coverage-name" }, name),
    el("div", { class: "bar", "aria-hidden": "true" }, el("span", { class: colour ? "" : "ground", style: { width: `${100 * share}%`, ...(colour ? { background: colour } : {}) } })),
    el("span", { class: "coverage-share" }, percent(share)));
}

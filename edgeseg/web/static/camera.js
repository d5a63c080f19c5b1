// One camera of the dashboard: its picture, how it does, and its zones.

import { api, Refused } from "./api.js";
import { announce, attribute, el, icon, ICONS, say, svg } from "./dom.js";
import { CameraPicture } from "./picture.js";
import { cameraState, duration } from "./words.js";
import { ZoneRow } from "./zone.js";

export class CameraCard {
  constructor(live, camera, range) {
    this.live = live;
    this.camera = camera;
    const title = `camera-${camera.name}`;
    this.picture = new CameraPicture(live, camera.name);
    this.outlines = svg("svg", { class: "outlines", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.picture.node.append(this.outlines);
    this.state = el("span", { class: "state" });
    this.detail = el("p", { class: "detail" });
    this.figures = el("p", { class: "figures" });
    this.toggle = el("input", { type: "checkbox", role: "switch", "aria-label": `Camera ${camera.name} is on`, onchange: () => this.#switch() });
    this.rate = el("input", { type: "number", min: 0.1, max: 60, step: 0.1, "aria-label": `Analysed pictures a second of ${camera.name}`, onchange: () => this.#setRate() });
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.zones = camera.zones.map((zone) => new ZoneRow(live, camera, zone, range));
    this.node = el("article", { class: "camera", "aria-labelledby": title, "data-camera": camera.name },
      el("div", { class: "camera-look" },
        el("header", { class: "camera-head" }, el("h2", { id: title }, camera.name), this.state,
          el("label", { class: "switch" }, this.toggle, el("span", {}, "On"))),
        this.picture.node, this.detail,
        el("div", { class: "camera-foot" }, this.figures, el("label", { class: "rate" }, "Analyse ", this.rate, " a second")), this.problem),
      el("div", { class: "camera-zones" },
        this.zones.length
          ? el("ul", { class: "zones", "aria-label": `Zones of ${camera.name}` }, this.zones.map((zone) => zone.node))
          : el("p", { class: "hint" }, "No zones yet. Draw one to measure what covers it."),
        el("a", { class: "button", href: `#/edit/${camera.name}` }, icon(ICONS.plus), "Add a zone",
          el("span", { class: "sr" }, ` to ${camera.name}`))));
    this.update();
  }

  close() {
    this.picture.close();
    for (const zone of this.zones) zone.close();
  }

  zone(name) {
    return this.zones.find((one) => one.zone.name === name);
  }

  setRange(range) {
    for (const zone of this.zones) zone.setRange(range);
  }

  /** After news of its state. */
  update() {
    const { camera } = this, { status } = camera;
    const { label, tone, detail } = cameraState(status);
    say(this.state, label);
    attribute(this.state, "class", `state ${tone}`);
    const { rate, input, engine } = status.degraded ?? {};
    const less = [rate && `${rate} pictures a second`, input && `input ${input}`].filter(Boolean).join(", ");
    const degraded = less && `The device cannot keep up: ${less}.`;
    const away = engine && `No inference server answers: ${engine === "none" ? "nothing" : engine} stands in.`;
    say(this.detail, [detail && `${detail.charAt(0).toUpperCase()}${detail.slice(1)}.`, degraded, away].filter(Boolean).join(" "));
    this.detail.hidden = !this.detail.textContent;
    this.#figures();
    if (document.activeElement !== this.rate) this.rate.value = camera.rate;
    this.toggle.checked = camera.enabled;
    this.node.classList.toggle("away", status.state !== "live");
    if (camera.picture) this.picture.node.style.setProperty("aspect-ratio", `${camera.picture.width} / ${camera.picture.height}`);
    this.outline();
  }

  #figures() {
    const { status, model, gated } = this.camera;
    const parts = [];
    if (status.fps !== null) parts.push(`${status.fps.toFixed(1)} analysed a second`);
    if (status.age_ms !== null) parts.push(`picture ${duration(status.age_ms / 1000)} old`);
    parts.push(model);
    if (gated) parts.push("analyses what moves");
    say(this.figures, parts.join(" · "));
  }

  outline() {
    this.outlines.replaceChildren(...this.camera.zones.flatMap((zone) => {
      const on = zone.rules.some((rule) => rule.state === "ON");
      const unknown = this.live.of(this.camera.name, zone.name)?.state !== "ok";
      const points = (polygon) => polygon.map(([x, y]) => `${x},${y}`).join(" ");
      return [
        ...zone.exclude.map((polygon) => svg("polygon", { class: "excluded", points: points(polygon) })),
        ...zone.polygons.map((polygon) => svg("polygon", { class: on ? "alarm" : unknown ? "unknown" : "calm", points: points(polygon) })),
      ];
    }));
  }

  async #switch() {
    const wanted = this.toggle.checked;
    await this.#ask(() => api.enable(this.camera.name, wanted), `${this.camera.name} is switched ${wanted ? "on" : "off"}.`);
  }

  async #setRate() {
    if (!this.rate.checkValidity()) return this.#complain("Between 0.1 and 60 pictures a second.");
    await this.#ask(() => api.setRate(this.camera.name, Number(this.rate.value)), `${this.camera.name} analyses ${this.rate.value} pictures a second.`);
  }

  async #ask(work, said) {
    try {
      await work();
      this.problem.hidden = true;
      announce(said);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#complain(error.message);
      this.update();
    }
  }

  #complain(words) {
    this.problem.textContent = words;
    this.problem.hidden = false;
  }
}

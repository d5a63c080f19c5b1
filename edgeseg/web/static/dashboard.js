// The page of all cameras.

import { AlertList } from "./alerts.js";
import { CameraCard } from "./camera.js";
import { onThemeChange } from "./colours.js";
import { announce, el } from "./dom.js";
import { alertTitle } from "./words.js";
import { RANGES } from "./zone.js";

const KEPT_RANGE = "edgeseg.hours", KEPT_BLEND = "edgeseg.blend";

export class Dashboard {
  constructor(live) {
    this.live = live;
    this.cards = new Map();
    const hours = Number(localStorage.getItem(KEPT_RANGE) ?? 3);
    this.range = RANGES.find((one) => one.hours === hours) ?? RANGES[1];
    this.alerts = new AlertList(live);
    this.cameras = el("div", { class: "cameras" });
    this.node = el("div", { class: "dashboard" }, el("h1", { class: "sr" }, "Cameras"), this.#tools(),
      el("div", { class: "columns" }, this.cameras, this.alerts.node));
    this.listeners = Object.entries({
      cameras: () => this.#build(),
      status: ({ camera }) => this.cards.get(camera)?.update(),
      occupancy: ({ camera, zone }) => this.cards.get(camera)?.zone(zone)?.update(),
      rule: ({ camera, zone }) => {
        this.cards.get(camera)?.zone(zone)?.updateRules();
        this.cards.get(camera)?.outline();
      },
      alerts: (alert) => { this.alerts.update(); this.#call(alert); },
    }).map(([type, work]) => [type, (event) => work(event.detail)]);
    for (const [type, work] of this.listeners) live.addEventListener(type, work);
    this.unthemed = onThemeChange(() => this.alerts.repaint());
    this.#build();
    this.alerts.update();
  }

  close() {
    this.unthemed();
    for (const [type, work] of this.listeners) this.live.removeEventListener(type, work);
    for (const card of this.cards.values()) card.close();
  }

  #tools() {
    const blend = el("input", { type: "range", min: 0, max: 100, step: 5, id: "blend", props: { value: localStorage.getItem(KEPT_BLEND) ?? 45 } });
    const apply = () => document.documentElement.style.setProperty("--blend", blend.value / 100);
    blend.addEventListener("input", () => { localStorage.setItem(KEPT_BLEND, blend.value); apply(); });
    apply();
    const range = el("select", { id: "range" }, RANGES.map((one) =>
      el("option", { value: one.hours, selected: one === this.range }, one.label)));
    range.addEventListener("change", () => {
      localStorage.setItem(KEPT_RANGE, range.value);
      this.range = RANGES.find((one) => one.hours === Number(range.value));
      for (const card of this.cards.values()) card.setRange(this.range);
    });
    return el("div", { class: "tools" },
      el("label", { for: "blend" }, "What the network sees"), blend,
      el("label", { for: "range" }, "Look back"), range);
  }

  #build() {
    for (const card of this.cards.values()) card.close();
    this.cards = new Map(this.live.cameras.map((camera) => [camera.name, new CameraCard(this.live, camera, this.range)]));
    this.cameras.replaceChildren(...[...this.cards.values()].map((card) => card.node));
  }

  #call(alert) {
    if (alert.event !== "new") return;
    const zone = this.live.camera(alert.camera)?.zones.find((one) => one.name === alert.zone);
    announce(`Alert: ${alertTitle(alert, zone?.title)}.`);
  }
}

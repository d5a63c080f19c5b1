// A rule against what was recorded in the last hour.

import { api, Refused } from "./api.js";
import { HistoryChart } from "./chart.js";
import { el } from "./dom.js";
import { clockSeconds, duration } from "./words.js";
import { seriesOf } from "./zone.js";
import { shareOf } from "./zonefile.js";

const HOUR_MS = 3600000;

export class Trial {
  /** zone: () => key of the zone in the file, or null. rule: () => [name, rule]. */
  constructor(camera, zone, rule) {
    Object.assign(this, { camera, zone, rule });
    this.said = el("p", { class: "trial-said", role: "status" });
    this.list = el("ol", { class: "trial-list" });
    this.chart = new HistoryChart("What was recorded, and when the rule would have been on");
    this.chart.node.hidden = true;
    this.button = el("button", { class: "button", type: "button", onclick: () => this.#try() }, "Try against the last hour");
    this.node = el("div", { class: "trial" }, this.button, this.said, this.chart.node, this.list);
  }

  async #try() {
    const key = this.zone();
    if (key === null) return this.#say("This zone is new: nothing is recorded of it. Save it, then try the rule.");
    const [, rule] = this.rule();
    this.button.disabled = true;
    try {
      const to = Date.now(), from = to - HOUR_MS;
      const [tried, past] = await Promise.all([api.tryRule(this.camera.name, key, rule), api.history(this.camera.name, key, "1m", from)]);
      this.#show(tried, past, rule, from, to);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#say(error.problems.map((one) => one.message).join("; ") || error.message);
    } finally {
      this.button.disabled = false;
    }
  }

  #say(words) {
    this.said.textContent = words;
    this.chart.node.hidden = true;
    this.list.replaceChildren();
  }

  #show(tried, { steps, step_s }, rule, from, to) {
    if (tried.recorded_from === null) return this.#say("Nothing is recorded of this zone yet. Come back in a few minutes.");
    const spells = spellsOf(tried.alerts);
    const seen = duration((Date.parse(tried.recorded_to) - Date.parse(tried.recorded_from)) / 1000);
    const times = spells.length === 1 ? "once" : `${spells.length} times`;
    this.said.textContent = spells.length
      ? `In the recorded ${seen} it would have begun ${times}; the longest lasted ${duration(Math.max(...spells.map((one) => (one.to ?? to) - one.from)) / 1000)}.`
      : `In the recorded ${seen} it would not have begun once.`;
    this.list.replaceChildren(...spells.slice(-8).map((one) =>
      el("li", {}, `${clockSeconds(one.from)}, ${one.to ? `for ${duration((one.to - one.from) / 1000)}` : "still on"}`)));
    const names = [rule.occupied ?? rule.absent ?? rule.changed?.from ?? rule.reference ?? []].flat();
    const spanMs = 1000 * step_s;
    this.chart.node.hidden = false;
    this.chart.show({ from, to, spanMs, spells, threshold: shareOf(rule.enter) || null,
      series: names.map((name) => seriesOf(name, this.camera, steps, spanMs)) });
  }
}

/** [{from, to}] in ms; to is null for what has not ended. */
function spellsOf(alerts) {
  const found = new Map();
  for (const alert of alerts) {
    found.set(alert.id, { from: Date.parse(alert.began_at), to: alert.ended_at ? Date.parse(alert.ended_at) : null });
  }
  return [...found.values()];
}

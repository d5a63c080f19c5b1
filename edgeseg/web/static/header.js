// The top of every page: which device, whether it is there, and how much it has to do.

import { api } from "./api.js";
import { attribute, el, say } from "./dom.js";
import { duration } from "./words.js";

const MIB = 1024 * 1024;
const KNOWN = "edgeseg.known";

export class Header {
  constructor(live) {
    this.live = live;
    this.name = document.getElementById("node-name");
    this.link = document.getElementById("link");
    this.load = document.getElementById("load");
    this.foot = document.getElementById("device");
    this.notice = document.getElementById("notice");
    for (const type of ["node", "link"]) live.addEventListener(type, () => this.update());
    live.addEventListener("reload", ({ detail }) => this.#reloaded(detail));
    this.logout = document.getElementById("logout");
    this.logout.hidden = localStorage.getItem(KNOWN) === null;
    this.logout.addEventListener("click", async () => {
      await api.logout();
      localStorage.removeItem(KNOWN);
      location.reload();
    });
  }

  /** A token was given: there is something to log out of. */
  known() {
    localStorage.setItem(KNOWN, "1");
    this.logout.hidden = false;
  }

  update() {
    const { node, connected } = this.live;
    say(this.link, connected ? "Live" : "Not connected");
    attribute(this.link, "class", `state ${connected ? "good" : "bad"}`);
    document.body.classList.toggle("away", !connected);
    if (!node) return;
    say(this.name, node.node);
    document.title = `${node.node} · edgeseg`;
    const { busy, demand, uptime_s } = node.stats;
    const full = demand > 1;
    this.load.hidden = false;
    this.load.querySelector("meter").value = Math.min(Math.max(busy, 0), 1);
    say(this.load.querySelector("span"), full ? `More to do than it can (${Math.round(100 * demand)} %)` : `${Math.round(100 * busy)} % busy`);
    const parts = [`edgeseg ${node.version}`, node.file, `up ${duration(uptime_s)}`];
    if (node.cpu !== null) parts.push(`${node.cpu.toFixed(2)} of ${node.cores} cores`);
    parts.push(`${Math.round(node.memory_bytes / MIB)} MB`);
    parts.push(node.mqtt === null ? "no broker" : node.mqtt.connected ? "broker connected" : "broker away");
    if (node.mqtt?.outbox_waiting) parts.push(`${node.mqtt.outbox_waiting} alerts wait for the broker`);
    if (node.mqtt && !node.mqtt.outbox_durable) parts.push("alerts wait in memory: the disk fails");
    say(this.foot, parts.join(" · "));
    if (node.reload?.error) this.#reloaded(node.reload);
  }

  #reloaded({ error }) {
    this.notice.replaceChildren(...(error ? [el("p", {}, el("strong", {}, "The pipeline file was refused; what ran before goes on. "), error)] : []));
    this.notice.hidden = !error;
  }
}

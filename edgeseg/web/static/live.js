// What the device says, as it says it: one WebSocket, and everything anew after each connect.

import { api, Refused } from "./api.js";

const FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 15000;
const MOST_ALERTS = 100;
const NODE_EVERY_MS = 5000;
const zoneId = (camera, zone) => `${camera}/${zone}`;

/** Events, by type: `cameras` (which there are, or how they are set), `status`, `occupancy`, `rule`, `alerts`,
 * `node`, `link`, `picture`, `token` (one is needed). `detail` names the camera, and the zone. */
export class Live extends EventTarget {
  constructor() {
    super();
    this.node = null;
    this.cameras = [];
    this.occupancy = new Map();
    this.alerts = [];
    this.connected = false;
    this.watched = new Map();
    this.pause = FIRST_PAUSE_MS;
    document.addEventListener("visibilitychange", () => this.#tellWatched());
  }

  camera(name) {
    return this.cameras.find((one) => one.name === name);
  }

  of(camera, zone) {
    return this.occupancy.get(zoneId(camera, zone));
  }

  /** Fetches everything, then follows. Comes back by itself when the device does. */
  async start() {
    try {
      await this.refresh();
      this.#connect();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) this.#tell("token");
      else this.#retry();
    }
  }

  async refresh() {
    const [node, cameras, occupancy, alerts] = await Promise.all([api.node(), api.cameras(), api.occupancy(), api.alerts()]);
    this.node = node;
    this.cameras = cameras;
    this.occupancy = new Map(occupancy.map((one) => [zoneId(one.camera, one.zone), one]));
    this.alerts = alerts;
    for (const type of ["node", "cameras", "alerts"]) this.#tell(type);
  }

  /** Asks for the pictures of a camera; returns how to end that. Nothing is asked for a hidden page. */
  watch(camera) {
    this.watched.set(camera, (this.watched.get(camera) ?? 0) + 1);
    this.#tellWatched();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const left = this.watched.get(camera) - 1;
      if (left) this.watched.set(camera, left);
      else this.watched.delete(camera);
      this.#tellWatched();
    };
  }

  #connect() {
    this.socket = new WebSocket(api.liveUrl());
    this.socket.addEventListener("open", () => {
      this.pause = FIRST_PAUSE_MS;
      this.#link(true);
      this.#tellWatched();
      this.nodeTimer = setInterval(() => this.#askNode(), NODE_EVERY_MS);
    });
    this.socket.addEventListener("message", (event) => this.#hear(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => {
      clearInterval(this.nodeTimer);
      this.#link(false);
      this.#retry();
    });
  }

  #retry() {
    setTimeout(() => this.start(), this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  #link(connected) {
    this.connected = connected;
    this.#tell("link");
  }

  async #askNode() {
    if (document.hidden) return;
    try {
      this.node = await api.node();
      this.#tell("node");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }

  #tellWatched() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ watch: document.hidden ? [] : [...this.watched.keys()] }));
  }

  #hear({ type, ...message }) {
    this[`hear_${type}`]?.(message);
  }

  hear_occupancy({ data }) {
    this.occupancy.set(zoneId(data.camera, data.zone), data);
    this.#tell("occupancy", data);
  }

  hear_rule({ data }) {
    const rule = this.camera(data.camera)?.zones.find((one) => one.name === data.zone)?.rules.find((one) => one.name === data.rule);
    if (rule) Object.assign(rule, { state: data.state, since: new Date().toISOString() });
    this.#tell("rule", data);
  }

  hear_camera({ data }) {
    const camera = this.camera(data.camera);
    if (!camera) return this.#soon();
    const seen = camera.picture !== null;
    camera.status = data;
    this.#tell("status", data);
    if (!seen && data.state === "live") this.#soon();
  }

  hear_answer({ camera: name, thing, value }) {
    const camera = this.camera(name);
    if (!camera) return;
    if (thing === "enabled") camera.enabled = value === "ON";
    if (thing === "rate") camera.rate = Number(value);
    this.#tell("status", { camera: name });
  }

  hear_alert({ data }) {
    this.alerts = [data, ...this.alerts.filter((one) => one.id !== data.id)]
      .sort((a, b) => b.began_at.localeCompare(a.began_at)).slice(0, MOST_ALERTS);
    this.#tell("alerts", data);
  }

  hear_stats({ data }) {
    if (this.node) this.node = { ...this.node, stats: data };
    this.#tell("node");
  }

  hear_picture({ camera, version }) { this.#tell("picture", { camera, version }); }

  hear_removed() { this.#soon(); }

  hear_reload(said) {
    this.#tell("reload", said);
    this.#soon();
  }

  /** Several changes of the file come together: ask once. */
  #soon() {
    clearTimeout(this.refreshTimer);
    this.refreshTimer = setTimeout(() => this.refresh().catch(() => this.socket?.close()), 250);
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

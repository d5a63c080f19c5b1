// A camera's picture with what the network sees in it, fetched only while somebody can see it.

import { api, Refused } from "./api.js";
import { el } from "./dom.js";

// Faster than this nobody reads, and every picture costs the device a JPEG.
const SHORTEST_MS = 150;
const AGAIN_MS = 2000;

export class CameraPicture {
  /** on_picture: called after each drawn picture. */
  constructor(live, camera, onPicture = () => {}) {
    this.live = live;
    this.camera = camera;
    this.onPicture = onPicture;
    this.frozen = false;
    this.drawn = 0;
    this.photo = el("canvas", { class: "photo", role: "img", "aria-label": `Live picture of camera ${camera}` });
    this.labels = el("canvas", { class: "labels", "aria-hidden": "true" });
    this.note = el("p", { class: "picture-note", hidden: true });
    this.node = el("div", { class: "picture", "data-camera": camera }, this.photo, this.labels, this.note);
    this.sight = new IntersectionObserver(([entry]) => (entry.isIntersecting ? this.#begin() : this.#end()));
    this.heard = (event) => { if (event.detail.camera === camera) this.#fetch(); };
    this.sight.observe(this.node);
  }

  close() {
    this.sight.disconnect();
    this.#end();
  }

  freeze(frozen) {
    this.frozen = frozen;
    if (!frozen) this.#fetch();
  }

  #begin() {
    if (this.unwatch) return;
    this.unwatch = this.live.watch(this.camera);
    this.live.addEventListener("picture", this.heard);
    this.#fetch();
  }

  #end() {
    this.unwatch?.();
    this.unwatch = null;
    this.live.removeEventListener("picture", this.heard);
    clearTimeout(this.timer);
    this.asking?.abort();
  }

  /** One request at a time; what is announced meanwhile is fetched next. */
  async #fetch() {
    if (this.frozen || !this.unwatch || document.hidden) return;
    if (this.asking) { this.more = true; return; }
    this.asking = new AbortController();
    const began = performance.now();
    let again = null;
    try {
      const { signal } = this.asking;
      const [photo, labels] = await Promise.all([api.picture(this.camera, signal), api.labels(this.camera, signal)].map(bitmap));
      if (!this.frozen) this.#draw(photo, labels);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refused)) throw error;
      this.#say(error.message);
      again = AGAIN_MS;
    } finally {
      this.asking = null;
      if (this.more && again === null) again = Math.max(0, SHORTEST_MS - (performance.now() - began));
      this.more = false;
    }
    if (again !== null && this.unwatch) this.timer = setTimeout(() => this.#fetch(), again);
  }

  #draw(photo, labels) {
    paint(this.photo, photo);
    const pen = paint(this.labels, labels);
    const pixels = pen.getImageData(0, 0, this.labels.width, this.labels.height);
    const { data } = pixels;
    // The palette's black is ground: see through it.
    for (let at = 0; at < data.length; at += 4) if (!(data[at] | data[at + 1] | data[at + 2])) data[at + 3] = 0;
    pen.putImageData(pixels, 0, 0);
    this.note.hidden = true;
    this.drawn += 1;
    this.node.dataset.drawn = this.drawn;
    this.onPicture();
  }

  #say(words) {
    this.note.textContent = words;
    this.note.hidden = false;
  }
}

async function bitmap(answer) {
  return createImageBitmap(await (await answer).blob());
}

function paint(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) Object.assign(canvas, { width: image.width, height: image.height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0);
  image.close();
  return pen;
}

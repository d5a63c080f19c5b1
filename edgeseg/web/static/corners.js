// The corners of a draft as numbers, for those who do not drag.

import { el } from "./dom.js";

export class Corners {
  constructor(draft, size) {
    Object.assign(this, { draft, size });
    this.body = el("div", { class: "corner-rings" });
    this.node = el("details", { class: "panel-part corners" }, el("summary", {}, "Corners as numbers"), this.body);
    this.node.addEventListener("toggle", () => this.update());
    draft.addEventListener("change", () => this.update());
  }

  update() {
    if (!this.node.open) return;
    const { rings } = this.draft, shape = rings.map((ring) => ring.kind + ring.points.length).join();
    if (shape !== this.shape) this.#build(shape);
    for (const { input, ring, point, axis } of this.inputs) {
      if (document.activeElement !== input) input.value = this.#pixels(rings[ring].points[point][axis], axis);
    }
  }

  #pixels(share, axis) {
    return Math.round(share * (axis ? this.size.height : this.size.width) * 10) / 10;
  }

  #build(shape) {
    this.shape = shape;
    this.inputs = [];
    this.body.replaceChildren(...this.draft.rings.map((ring, r) => {
      const what = ring.kind === "include" ? "Zone" : "Excluded area";
      return el("table", {}, el("caption", {}, `${what}, in pixels of the picture`),
        el("thead", {}, el("tr", {}, ["Corner", "across", "down"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, ring.points.map((_, p) => el("tr", {}, el("th", { scope: "row" }, p + 1), [0, 1].map((axis) => el("td", {}, this.#input(r, p, axis)))))));
    }));
  }

  #input(ring, point, axis) {
    const input = el("input", { type: "number", min: 0, max: axis ? this.size.height : this.size.width, step: "any",
      "aria-label": `Corner ${point + 1}, ${axis ? "down" : "across"}` });
    input.addEventListener("change", () => {
      const at = [...this.draft.rings[ring].points[point]];
      at[axis] = Number(input.value) / (axis ? this.size.height : this.size.width);
      this.draft.move(ring, point, at);
    });
    this.inputs.push({ input, ring, point, axis });
    return input;
  }
}

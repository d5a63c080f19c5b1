// A zone while it is drawn, with undo. Rings are {kind: "include" | "exclude", points: [[x, y], ...]}.

import { crossesItself, middle, tidy } from "./geometry.js";

const MOST_STEPS = 200;

export class Draft extends EventTarget {
  /** rings: as in the file; empty for a new zone. */
  constructor(rings = []) {
    super();
    this.rings = structuredClone(rings);
    this.open = null;
    this.selected = null;
    this.past = [];
    this.future = [];
    this.touched = null;
  }

  /** The ring being drawn is not part of the zone yet. */
  get closed() {
    return this.rings.filter((_, index) => index !== this.open);
  }

  get hasArea() {
    return this.closed.some((ring) => ring.kind === "include");
  }

  /** What stands in the way of saving, in words; null when nothing does. */
  get flaw() {
    if (this.open !== null) return "Close the shape first.";
    if (!this.hasArea) return "Draw the zone on the picture first.";
    if (this.rings.some((ring) => crossesItself(ring.points))) return "The outline crosses itself; move a corner.";
    return null;
  }

  begin(kind) {
    this.#change(() => {
      if (this.open !== null) this.rings.splice(this.open, 1);
      this.rings.push({ kind, points: [] });
      this.open = this.rings.length - 1;
      this.selected = null;
    });
  }

  addPoint(point) {
    this.#change(() => {
      const ring = this.rings[this.open];
      ring.points.push(tidy(point));
      this.selected = { ring: this.open, point: ring.points.length - 1 };
    });
  }

  /** Ends drawing; a ring of fewer than three corners is dropped. */
  close() {
    if (this.open === null) return;
    this.#change(() => {
      if (this.rings[this.open].points.length < 3) {
        this.rings.splice(this.open, 1);
        this.selected = null;
      } else this.selected = { ring: this.open, point: 0 };
      this.open = null;
    });
  }

  cancel() {
    if (this.open === null) return;
    this.#change(() => {
      this.rings.splice(this.open, 1);
      this.open = null;
      this.selected = null;
    });
  }

  /** A box in the middle, to be pulled into shape. */
  addBox(kind) {
    const [near, far] = kind === "include" ? [0.3, 0.7] : [0.45, 0.55];
    this.#change(() => {
      this.rings.push({ kind, points: [[near, near], [far, near], [far, far], [near, far]] });
      this.open = null;
      this.selected = { ring: this.rings.length - 1, point: 0 };
    });
  }

  /** gesture: moves that share one are undone together. */
  move(ring, point, to, gesture) {
    this.#change(() => {
      this.rings[ring].points[point] = tidy(to);
      this.selected = { ring, point };
    }, gesture);
  }

  /** A new corner half-way to the next one, or at a place. */
  insertAfter(ring, point, at = null, gesture = null) {
    const points = this.rings[ring].points;
    this.#change(() => {
      points.splice(point + 1, 0, tidy(at ?? middle(points[point], points[(point + 1) % points.length])));
      this.selected = { ring, point: point + 1 };
    }, gesture);
  }

  /** Takes a corner away; the last three go together. */
  remove(ring, point) {
    if (this.rings[ring].points.length <= 3 && this.open !== ring) return this.removeRing(ring);
    this.#change(() => {
      const points = this.rings[ring].points;
      points.splice(point, 1);
      if (!points.length) { this.rings.splice(ring, 1); this.open = null; this.selected = null; }
      else this.selected = { ring, point: Math.min(point, points.length - 1) };
    });
  }

  removeRing(ring) {
    this.#change(() => {
      this.rings.splice(ring, 1);
      this.open = null;
      this.selected = null;
    });
  }

  select(ring, point) {
    this.selected = { ring, point };
    this.dispatchEvent(new Event("select"));
  }

  /** What comes next is undone by itself. */
  settle() {
    this.touched = null;
  }

  undo() { this.#travel(this.past, this.future); }

  redo() { this.#travel(this.future, this.past); }

  #travel(from, to) {
    if (!from.length) return;
    to.push(this.#state());
    Object.assign(this, structuredClone(from.pop()));
    this.touched = null;
    this.dispatchEvent(new Event("change"));
  }

  #state() {
    return structuredClone({ rings: this.rings, open: this.open, selected: this.selected });
  }

  #change(work, gesture = null) {
    if (gesture === null || gesture !== this.touched) {
      this.past.push(this.#state());
      if (this.past.length > MOST_STEPS) this.past.shift();
    }
    this.touched = gesture;
    this.future = [];
    work();
    this.dispatchEvent(new Event("change"));
  }
}

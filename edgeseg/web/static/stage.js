// The picture with a zone on it that can be drawn, pulled and walked through with the keyboard.

import { announce, attribute, el, svg } from "./dom.js";
import { middle } from "./geometry.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR_STEP_PX = 10;
// Sizes on the screen, whatever the picture's: a fingertip covers 44 pixels.
const CORNER_PX = 7, MIDDLE_PX = 4.5, TOUCH_PX = 22;

export class Stage {
  /** picture: the node with the camera picture. size: {width, height} of the camera picture in pixels.
   * others: outlines of other zones, [{title, rings}], for orientation. */
  constructor(draft, picture, size) {
    this.draft = draft;
    this.size = size;
    this.gesture = 0;
    this.others = svg("g", { class: "others", "aria-hidden": "true" });
    this.shapes = svg("g", { "aria-hidden": "true" });
    this.handles = svg("g");
    this.drawing = svg("svg", {
      class: "stage-drawing", viewBox: `0 0 ${size.width} ${size.height}`, preserveAspectRatio: "none",
      role: "group", "aria-label": "Corners of the zone",
    }, this.others, this.shapes, this.handles);
    this.node = el("div", { class: "stage", style: { "aspect-ratio": `${size.width} / ${size.height}`, "--shape": size.width / size.height } }, picture, this.drawing);
    this.drawing.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.drawing.addEventListener("pointermove", (event) => this.#moved(event));
    for (const end of ["pointerup", "pointercancel"]) this.drawing.addEventListener(end, () => this.#released());
    this.drawing.addEventListener("dblclick", () => draft.close());
    this.drawing.addEventListener("keydown", (event) => this.#key(event));
    draft.addEventListener("change", () => this.render());
    draft.addEventListener("select", () => this.#mark());
    new ResizeObserver(() => this.render()).observe(this.node);
  }

  showOthers(zones) {
    this.others.replaceChildren(...zones.flatMap((zone) => zone.rings.map((ring) =>
      svg("polygon", { class: `other ${ring.kind}`, points: this.#points(ring.points) }, svg("title", {}, zone.title)))));
  }

  render() {
    const { draft } = this;
    const focused = this.drawing.contains(document.activeElement);
    // Picture pixels to one of the screen.
    this.unit = this.size.width / Math.max(this.drawing.clientWidth, 1);
    this.node.classList.toggle("drawing", draft.open !== null);
    this.shapes.replaceChildren(...draft.rings.flatMap((ring, index) => this.#shape(ring, index)));
    const shape = draft.rings.map((ring) => ring.kind + ring.points.length).join() + draft.open;
    if (shape === this.shape) this.#place();
    else this.#rebuild(shape);
    this.#mark();
    if (focused && draft.selected) this.focus();
  }

  focus() {
    const { selected } = this.draft;
    const found = this.corners?.find((one) => one.ring === selected?.ring && one.point === selected?.point) ?? this.corners?.[0];
    found?.node.focus({ preventScroll: true });
  }

  #points(points) {
    return points.map(([x, y]) => `${x * this.size.width},${y * this.size.height}`).join(" ");
  }

  #shape(ring, index) {
    const open = index === this.draft.open;
    return [
      svg(open ? "polyline" : "polygon", { class: `halo ${ring.kind}`, points: this.#points(ring.points) }),
      svg(open ? "polyline" : "polygon", { class: `ring ${ring.kind}${open ? " open" : ""}`, points: this.#points(ring.points) }),
    ];
  }

  #rebuild(shape) {
    this.shape = shape;
    this.corners = [];
    this.middles = [];
    this.draft.rings.forEach((ring, r) => {
      ring.points.forEach((_, p) => {
        if (r !== this.draft.open) {
          const dot = svg("g", { class: "middle", "data-ring": r, "data-after": p }, svg("circle", { class: "touch" }), svg("circle", { class: "dot" }));
          this.middles.push({ ring: r, point: p, node: dot });
        }
        const corner = svg("g", { class: `corner ${ring.kind}`, tabindex: 0, role: "button", "data-ring": r, "data-point": p,
          "aria-roledescription": "corner" }, svg("circle", { class: "touch" }), svg("circle", { class: "dot" }));
        corner.addEventListener("focus", () => this.draft.select(r, p));
        this.corners.push({ ring: r, point: p, node: corner });
      });
    });
    this.handles.replaceChildren(...this.middles.map((one) => one.node), ...this.corners.map((one) => one.node));
    this.#place();
  }

  #place() {
    const { rings } = this.draft;
    for (const { ring, point, node } of this.corners) {
      const at = rings[ring].points[point];
      this.#put(node, at, CORNER_PX);
      const kind = rings[ring].kind === "include" ? "Corner" : "Corner of an excluded area";
      attribute(node, "aria-label", `${kind} ${point + 1} of ${rings[ring].points.length}, ${this.#where(at)}`);
    }
    for (const { ring, point, node } of this.middles) {
      const { points } = rings[ring];
      this.#put(node, middle(points[point], points[(point + 1) % points.length]), MIDDLE_PX);
    }
  }

  #put(node, [x, y], radius) {
    node.setAttribute("transform", `translate(${x * this.size.width} ${y * this.size.height}) scale(${this.unit})`);
    node.firstChild.setAttribute("r", TOUCH_PX);
    node.lastChild.setAttribute("r", radius);
  }

  #where([x, y]) {
    return `${Math.round(x * this.size.width)} across, ${Math.round(y * this.size.height)} down`;
  }

  #mark() {
    const { selected } = this.draft;
    for (const { ring, point, node } of this.corners ?? []) {
      node.classList.toggle("selected", ring === selected?.ring && point === selected?.point);
    }
  }

  #at(event) {
    const box = this.drawing.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #pressed(event) {
    if (event.button !== 0) return;
    const { draft } = this, at = this.#at(event);
    const corner = event.target.closest(".corner"), dot = event.target.closest(".middle");
    this.gesture += 1;
    if (draft.open !== null) {
      event.preventDefault();
      if (corner && +corner.dataset.ring === draft.open && +corner.dataset.point === 0 && draft.rings[draft.open].points.length > 2) draft.close();
      else if (!(event.detail > 1)) draft.addPoint(at);
      return this.focus();
    }
    if (!corner && !dot) return;
    event.preventDefault();
    if (dot) draft.insertAfter(+dot.dataset.ring, +dot.dataset.after, at, `drag ${this.gesture}`);
    else draft.select(+corner.dataset.ring, +corner.dataset.point);
    this.dragged = { ...draft.selected };
    this.drawing.setPointerCapture(event.pointerId);
    this.focus();
  }

  #moved(event) {
    if (!this.dragged) return;
    this.draft.move(this.dragged.ring, this.dragged.point, this.#at(event), `drag ${this.gesture}`);
  }

  #released() {
    if (!this.dragged) return;
    this.dragged = null;
    this.draft.settle();
  }

  #key(event) {
    const { draft } = this;
    if (event.key === "Escape" && draft.open !== null) { draft.cancel(); announce("Drawing given up."); return; }
    if (event.key === "Enter" && draft.open !== null) { draft.close(); event.preventDefault(); return; }
    const corner = event.target.closest(".corner");
    if (!corner || event.ctrlKey || event.metaKey || event.altKey) return;
    const ring = +corner.dataset.ring, point = +corner.dataset.point;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = event.shiftKey ? FAR_STEP_PX : 1, [x, y] = draft.rings[ring].points[point];
      draft.move(ring, point, [x + (arrow[0] * step) / this.size.width, y + (arrow[1] * step) / this.size.height], `keys ${ring} ${point}`);
      announce(this.#where(draft.rings[ring].points[point]));
    } else if (event.key === "Delete" || event.key === "Backspace") {
      draft.remove(ring, point);
      announce("Corner removed.");
      this.focus();
    } else if (event.key === "Insert" || event.key === "+") {
      draft.insertAfter(ring, point);
      announce("Corner added.");
      this.focus();
    } else return;
    event.preventDefault();
  }
}

// The zone editor: a picture to draw on, and beside it what is drawn, in words and numbers.

import { api, Refused } from "./api.js";
import { Corners } from "./corners.js";
import { Coverage } from "./coverage.js";
import { announce, el, icon, ICONS } from "./dom.js";
import { Draft } from "./draft.js";
import { CameraPicture } from "./picture.js";
import { Rules } from "./rules.js";
import { Saving } from "./saving.js";
import { Stage } from "./stage.js";
import { keyOf } from "./words.js";
import { ringsOf, zoneWith } from "./zonefile.js";

const UNSEEN = { width: 1280, height: 720 };

export class Editor {
  /** zone: its key in the file, or null for a new one. */
  constructor(live, camera, zone) {
    Object.assign(this, { live, key: zone, hash: location.hash, dirty: false });
    this.camera = live.camera(camera);
    this.node = el("div", { class: "editor" }, el("p", { class: "hint" }, "Reading the zones of the pipeline file…"));
    this.keys = (event) => this.#shortcut(event);
    this.leaving = (event) => { if (this.dirty) event.preventDefault(); };
    document.addEventListener("keydown", this.keys);
    window.addEventListener("beforeunload", this.leaving);
  }

  close() {
    document.removeEventListener("keydown", this.keys);
    window.removeEventListener("beforeunload", this.leaving);
    this.picture?.close();
    this.coverage?.close();
  }

  /** Whether the page may be left. */
  leave() {
    return !this.dirty || confirm("Leave without saving? What you drew is lost.");
  }

  async load() {
    try {
      const { zones, etag } = await api.zones(this.camera.name);
      this.#open(zones, etag);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.node.replaceChildren(el("h1", {}, "The zones cannot be edited"), el("p", { class: "problem" }, error.message), el("a", { class: "button", href: "#/" }, "Back to the cameras"));
    }
  }

  /** keep: a draft to go on with, after the file was read again. */
  #open(zones, etag, keep = null) {
    this.picture?.close();
    this.coverage?.close();
    const size = this.camera.picture ?? UNSEEN;
    const known = this.key !== null && this.key in zones;
    this.zone = known ? zones[this.key] : {};
    Object.assign(this, { zones, etag, saved: known });
    this.draft = new Draft(keep?.rings ?? ringsOf(this.zone));
    this.picture = new CameraPicture(this.live, this.camera.name);
    this.stage = new Stage(this.draft, this.picture.node, size);
    this.stage.showOthers(Object.entries(zones).filter(([key]) => key !== this.key).map(([key, zone]) => ({ title: zone.name ?? key, rings: ringsOf(zone) })));
    this.coverage = new Coverage(this.live, this.camera, this.draft, () => this.zone);
    this.rules = new Rules(this.camera, keep?.rules ?? this.zone.rules ?? {}, () => (this.saved ? this.key : null));
    this.saving = new Saving(this);
    this.title = el("input", { id: "zone-title", type: "text", autocomplete: "off", maxlength: 80, placeholder: "Loading bay", props: { value: keep?.title ?? this.zone.name ?? "" }, "aria-describedby": "zone-key zone-title-problem" });
    this.keyNote = el("p", { class: "hint", id: "zone-key" });
    this.titleProblem = el("p", { class: "problem", id: "zone-title-problem" });
    this.flaw = el("p", { class: "problem", role: "status" });
    this.help = el("p", { class: "hint stage-help" });
    for (const part of [this.draft, this.rules]) part.addEventListener("change", () => this.#edited());
    this.title.addEventListener("input", () => this.#edited());
    this.node.replaceChildren(...this.#layout(size));
    this.stage.render();
    this.dirty = keep !== null;
    this.#show();
  }

  #layout(size) {
    const heading = this.saved ? this.zone.name ?? this.key : "New zone";
    return [
      el("div", { class: "editor-head" }, el("a", { class: "button quiet", href: "#/" }, icon(ICONS.back), "Cameras"), el("h1", {}, `${heading} `, el("small", {}, this.camera.name))),
      el("div", { class: "editor-columns" },
        el("div", { class: "editor-picture" }, this.#tools(), this.stage.node, this.help, this.flaw),
        el("form", { class: "panel", onsubmit: (event) => { event.preventDefault(); this.saving.save(); } },
          el("section", { class: "panel-part" }, el("label", { for: "zone-title" }, "Name of the zone"), this.title, this.keyNote, this.titleProblem),
          this.coverage.node, new Corners(this.draft, size).node, this.rules.node, this.saving.node)),
    ];
  }

  #tools() {
    const tool = (name, path, work, more = {}) => el("button", { class: "button tool", type: "button", onclick: work, ...more }, icon(path), name);
    this.draw = tool("Draw", ICONS.pen, () => this.#begin("include"), { "aria-pressed": "false", class: "button tool swaps", style: { "--most": "6.4rem" } });
    this.cut = tool("Exclude an area", ICONS.cut, () => this.#begin("exclude"), { "aria-pressed": "false", class: "button tool swaps", style: { "--most": "10.9rem" } });
    this.undo = tool("Undo", ICONS.undo, () => this.draft.undo(), { "aria-keyshortcuts": "Control+Z" });
    this.redo = tool("Redo", ICONS.redo, () => this.draft.redo(), { "aria-keyshortcuts": "Control+Shift+Z" });
    this.remove = tool("Remove shape", ICONS.bin, () => { this.draft.removeRing(this.draft.selected.ring); announce("Shape removed."); });
    this.freeze = tool("Freeze", ICONS.freeze, () => this.#freeze(), { "aria-pressed": "false" });
    return el("div", { class: "stage-tools", role: "toolbar", "aria-label": "Drawing" }, this.draw,
      tool("Box", ICONS.box, () => { this.draft.addBox(this.draft.hasArea ? "exclude" : "include"); this.stage.focus(); }, { title: "Four corners in the middle; without a zone the zone itself, else an excluded area" }),
      this.cut, this.undo, this.redo, this.remove, this.freeze);
  }

  /** Draws a shape, or closes the one that is being drawn. */
  #begin(kind) {
    if (this.draft.open !== null && this.draft.rings[this.draft.open].kind === kind) return this.draft.close();
    this.draft.begin(kind);
    announce("Choose the corners on the picture; Enter closes the shape. With the keyboard, use Box instead.");
  }

  #freeze() {
    const frozen = !this.picture.frozen;
    this.picture.freeze(frozen);
    this.freeze.setAttribute("aria-pressed", frozen);
  }

  #edited() {
    this.dirty = true;
    this.#show();
  }

  #show() {
    const { draft } = this, drawing = draft.open === null ? null : draft.rings[draft.open];
    this.undo.disabled = !draft.past.length;
    this.redo.disabled = !draft.future.length;
    this.remove.disabled = draft.selected === null || draft.open !== null;
    this.draw.setAttribute("aria-pressed", drawing?.kind === "include");
    this.cut.setAttribute("aria-pressed", drawing?.kind === "exclude");
    this.draw.lastChild.textContent = drawing?.kind === "include" ? "Close" : "Draw";
    this.cut.lastChild.textContent = drawing?.kind === "exclude" ? "Close" : "Exclude an area";
    this.cut.disabled = !draft.hasArea;
    this.help.textContent = drawing
      ? (drawing.points.length < 3 ? "Choose the corners one after the other, around the area." : "Go on, or close the shape: its button, its first corner, or Enter. Escape gives up.")
      : draft.hasArea ? "Pull a corner; pull a dot between two corners for a new one. Keys: arrows move by 1 pixel, with Shift by 10; + adds a corner, Delete removes it."
        : "Draw the zone: choose Draw, then its corners on the picture. Box puts one there to pull into shape.";
    this.flaw.textContent = draft.rings.length && draft.open === null ? draft.flaw ?? "" : "";
    this.keyNote.textContent = this.saved ? `Programs see it as ${this.key}.` : this.newKey ? `Programs will see it as ${this.newKey}.` : "";
    this.saving.show();
  }

  /** What programs will see a new zone as. */
  get newKey() {
    return keyOf(this.title.value);
  }

  /** {key, body} to be saved, or null after saying what is missing. */
  finished() {
    this.titleProblem.textContent = "";
    const key = this.saved ? this.key : this.newKey;
    if (!key) this.titleProblem.textContent = "Give the zone a name, such as Loading bay.";
    else if (!this.saved && key in this.zones) this.titleProblem.textContent = `There is a zone ${key} already; choose another name.`;
    this.flaw.textContent = this.draft.flaw ?? "";
    if (this.titleProblem.textContent) { this.title.focus(); return null; }
    if (this.draft.flaw) return null;
    return { key, body: zoneWith(this.zone, { title: this.title.value.trim(), rings: this.draft.closed, rules: this.rules.value }) };
  }

  /** After the file was written. */
  wrote(key, body, etag) {
    Object.assign(this, { key, etag, saved: true, zone: body, dirty: false });
    this.zones = { ...this.zones, [key]: body };
    this.hash = `#/edit/${this.camera.name}/${key}`;
    history.replaceState(null, "", this.hash);
    this.node.querySelector("h1").firstChild.textContent = `${body.name ?? key} `;
    this.#show();
  }

  /** Reads the file again, with what was drawn or without it. */
  async again(keep) {
    this.node.inert = true;
    const { zones, etag } = await api.zones(this.camera.name).finally(() => { this.node.inert = false; });
    const kept = keep ? { rings: this.draft.closed, rules: this.rules.value, title: this.title.value } : null;
    this.#open(zones, etag, kept);
    announce("Read again from the file.");
  }

  #shortcut(event) {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) this.draft.redo();
    else this.draft.undo();
  }
}

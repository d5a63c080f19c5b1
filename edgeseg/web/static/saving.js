// Saving a zone to the pipeline file: mistakes beside their fields, and nobody else's change overwritten.

import { api, Refused } from "./api.js";
import { announce, el, icon, ICONS } from "./dom.js";
import { fieldOf } from "./zonefile.js";

const CHANGED_MEANWHILE = 412;
const IN_FORCE_WITHIN_MS = 20000;

export class Saving {
  constructor(editor) {
    this.editor = editor;
    this.button = el("button", { class: "button primary", type: "submit" }, "Save");
    this.remove = el("button", { class: "button quiet danger", type: "button", onclick: () => this.#delete() }, icon(ICONS.bin), "Delete this zone");
    this.said = el("div", { class: "save-said", role: "status" });
    this.node = el("section", { class: "panel-part save" }, this.said, el("div", { class: "save-buttons" }, this.button, this.remove));
  }

  show() {
    this.remove.hidden = !this.editor.saved;
    const wanted = this.editor.dirty || !this.editor.saved;
    this.button.textContent = wanted ? "Save" : "Saved";
    this.button.classList.toggle("primary", wanted);
  }

  async save() {
    this.#say();
    for (const form of this.editor.rules.forms) form.calm();
    const wanted = this.editor.finished();
    if (!wanted) return;
    await this.#write(async () => {
      const { digest, kept, etag } = await api.saveZone(this.editor.camera.name, wanted.key, wanted.body, this.editor.etag);
      this.editor.wrote(wanted.key, wanted.body, etag);
      this.#inForce(digest, `The version before is kept as ${kept}.`);
    }, wanted.key);
  }

  async #delete() {
    const { camera, key, zone, etag } = this.editor;
    if (!confirm(`Delete ${zone.name ?? key} from the pipeline file? The version before is kept.`)) return;
    await this.#write(async () => {
      await api.deleteZone(camera.name, key, etag);
      this.editor.dirty = false;
      announce("The zone was deleted.");
      location.hash = "#/";
    }, key);
  }

  async #write(work, key) {
    this.button.disabled = true;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === CHANGED_MEANWHILE) this.#conflict();
      else this.#problems(error, key);
    } finally {
      this.button.disabled = false;
    }
  }

  /** Saved is not yet in force: the daemon has to take it. */
  #inForce(digest, kept) {
    const { live } = this.editor;
    const done = (good, words) => {
      clearTimeout(late);
      live.removeEventListener("reload", heard);
      this.#say(el("p", { class: good ? "good" : "problem" }, words, good ? [" See it among the ", el("a", { href: "#/" }, "cameras"), "."] : null), el("p", { class: "hint" }, kept));
      this.said.dataset.state = good ? "in-force" : "refused";
    };
    const heard = ({ detail }) => {
      if (detail.error) done(false, `Saved, but the daemon refused the file: ${detail.error}`);
      else if (detail.digest === digest) done(true, "Saved and in force.");
    };
    const late = setTimeout(() => done(false, "Saved, but the daemon has not taken it yet."), IN_FORCE_WITHIN_MS);
    live.addEventListener("reload", heard);
    this.#say(el("p", {}, "Saved. The daemon takes it now…"));
    this.said.dataset.state = "saved";
  }

  #conflict() {
    const button = (words, keep) => el("button", { class: "button", type: "button", onclick: () => this.editor.again(keep) }, words);
    this.#say(el("p", { class: "problem" }, "The pipeline file was changed meanwhile, and nothing of it is overwritten. Read it again, then save."),
      el("div", { class: "save-buttons" }, button("Read it again, keep my drawing", true), button("Read it again, drop my drawing", false)));
    this.said.dataset.state = "conflict";
  }

  #problems(error, key) {
    const { camera, rules } = this.editor, rest = [];
    for (const { where, message } of error.problems) {
      const [first, name, field] = (fieldOf(where, camera.name, key) ?? "").split(".");
      const shown = first === "rules" ? rules.form(name)?.complain(field ?? "name", message)
        : first === "name" ? (this.editor.titleProblem.textContent = message)
          : first === "polygon" || first === "exclude" ? (this.editor.flaw.textContent = message) : false;
      if (!shown) rest.push(`${where}: ${message}`);
    }
    const words = rest.length ? rest : [error.problems.length ? "Not saved: see the fields that are marked." : error.message];
    this.#say(...words.map((one) => el("p", { class: "problem" }, one)));
    this.said.dataset.state = "problems";
    document.querySelector("[aria-invalid=true]")?.focus();
  }

  #say(...nodes) {
    delete this.said.dataset.state;
    this.said.replaceChildren(...nodes);
  }
}

// The rules of a zone as a form, and what each would have said in the last hour.

import { el, icon, ICONS } from "./dom.js";
import { Trial } from "./trial.js";
import { ruleSentence } from "./words.js";
import { withUnit } from "./zonefile.js";

const KINDS = [
  ["occupied", "something covers it"],
  ["absent", "something is missing"],
  ["changed", "its ground has changed"],
  ["dominant", "another class covers most"],
  ["unusual", "it looks unlike normal for the hour"],
  ["drifted", "it has slowly become another thing"],
];
// They learn by themselves: no classes, no thresholds.
const LEARNING = ["unusual", "drifted"];
const UNKNOWN = [["hold", "keep the rule as it is"], ["end", "end the alert"], ["raise", "raise an alert"]];
const FIRST = { occupied: [], enter: "10 %", leave: "5 %", for: "5 s" };

const kindOf = (rule) => (rule.occupied ? "occupied" : rule.absent ? "absent" : typeof rule.changed === "string" ? rule.changed : "changed");
const termsOf = (rule) => [rule.occupied ?? rule.absent ?? (rule.changed === "dominant" ? rule.reference : rule.changed?.from) ?? []].flat();

/** All rules of a zone. `change` events after each edit. */
export class Rules extends EventTarget {
  /** rules: as in the file. zone: () => its key, or null while it is not in the file. */
  constructor(camera, rules, zone) {
    super();
    Object.assign(this, { camera, zone, forms: [] });
    this.list = el("div", { class: "rule-forms" });
    this.node = el("section", { class: "panel-part", "aria-labelledby": "rules-title" }, el("h2", { id: "rules-title" }, "Rules"), this.list,
      el("button", { class: "button", type: "button", onclick: () => this.#new() }, icon(ICONS.plus), "Add a rule"));
    for (const [name, rule] of Object.entries(rules)) this.#add(name, rule, false);
  }

  get value() {
    return Object.fromEntries(this.forms.map((form) => [form.name, form.value]));
  }

  form(name) {
    return this.forms.find((one) => one.name === name);
  }

  #new() {
    let name = "busy";
    for (let count = 2; this.form(name); count += 1) name = `busy_${count}`;
    const first = ["person", "pedestrian", "car"].find((one) => this.camera.classes.some(({ name: known }) => known === one));
    this.#add(name, { ...FIRST, occupied: first ? [first] : [] }, true);
    this.dispatchEvent(new Event("change"));
    this.forms.at(-1).focus();
  }

  #add(name, rule, open) {
    const form = new RuleForm(this.camera, name, rule, open, this.zone, {
      changed: () => this.dispatchEvent(new Event("change")),
      gone: () => {
        this.forms = this.forms.filter((one) => one !== form);
        form.node.remove();
        this.dispatchEvent(new Event("change"));
      },
    });
    this.forms.push(form);
    this.list.append(form.node);
  }
}

class RuleForm {
  constructor(camera, name, rule, open, zone, { changed, gone }) {
    Object.assign(this, { camera, raw: rule, changed });
    this.id = `rule-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    this.fields = {};
    this.summary = el("span", { class: "rule-sentence" });
    this.title = el("strong");
    this.key = this.#text("name", name, { pattern: "[a-z0-9_\\-]{1,64}", required: true });
    this.kind = el("select", { id: `${this.id}-kind` }, KINDS.map(([value, words]) => el("option", { value, selected: value === kindOf(rule) }, words)));
    this.enter = this.#text("enter", rule.enter ?? "");
    this.leave = this.#text("leave", rule.leave ?? "");
    this.held = this.#text("for", rule.for ?? "");
    this.clear = this.#text("clear", rule.clear ?? "");
    this.cooldown = this.#text("cooldown", rule.cooldown ?? "");
    this.hours = this.#text("hours", rule.hours ?? "", { placeholder: "22:00-06:00" });
    this.unknown = el("select", { id: `${this.id}-on_unknown` }, UNKNOWN.map(([value, words]) => el("option", { value, selected: value === rule.on_unknown }, words)));
    this.terms = this.#classes(termsOf(rule));
    this.trial = new Trial(camera, zone, () => [this.name, this.value]);
    this.node = el("details", { class: "rule-form", open, "data-rule": name },
      el("summary", {}, this.title, " ", this.summary),
      this.#row("name", "Name, as programs see it", this.key), this.#row("kind", "An alert when", this.kind), this.terms,
      this.thresholds = el("div", { class: "pair" }, this.#row("enter", "Begins at", this.enter), this.#row("leave", "Ends at", this.leave)),
      el("div", { class: "pair" }, this.#row("for", "After it held for", this.held), this.#row("clear", "Over after", this.clear)),
      el("details", { class: "more" }, el("summary", {}, "More"),
        this.#row("cooldown", "Quiet after an end for", this.cooldown), this.#row("hours", "Only between", this.hours),
        this.#row("on_unknown", "While the zone is unknown", this.unknown)),
      this.trial.node,
      el("button", { class: "button quiet danger", type: "button", onclick: gone }, icon(ICONS.bin), "Remove this rule"));
    this.node.addEventListener("change", () => this.#edited());
    this.#show();
  }

  get name() { return this.key.value.trim(); }

  get value() {
    const kind = this.kind.value, names = this.chosen();
    const rule = { ...this.raw };
    for (const key of ["occupied", "absent", "changed", "reference"]) delete rule[key];
    if (kind === "dominant") Object.assign(rule, { changed: "dominant", reference: names[0] });
    else if (kind === "changed") rule.changed = { from: names };
    else if (LEARNING.includes(kind)) rule.changed = kind;
    else rule[kind] = names;
    if (!LEARNING.includes(kind)) delete rule.learn;
    for (const [key, field, unit] of [["enter", this.enter, "%"], ["leave", this.leave, "%"], ["for", this.held, "s"],
      ["clear", this.clear, "s"], ["cooldown", this.cooldown, "s"], ["hours", this.hours, null]]) {
      const text = unit ? withUnit(field.value, unit) : field.value.trim();
      rule[key] = !this.#compares && unit === "%" ? undefined : text || undefined;
    }
    if (this.unknown.value !== "hold" || this.raw.on_unknown) rule.on_unknown = this.unknown.value;
    const order = ["occupied", "absent", "changed"];
    const entries = Object.entries(rule).filter(([, value]) => value !== undefined);
    return Object.fromEntries([...entries.filter(([key]) => order.includes(key)), ...entries.filter(([key]) => !order.includes(key))]);
  }

  focus() { this.key.focus(); }

  /** Shows a mistake beside its field; false where the form has no such field. */
  complain(field, words) {
    const place = this.fields[{ occupied: "terms", absent: "terms", changed: "terms", reference: "terms" }[field] ?? field];
    if (!place) return false;
    this.node.open = true;
    place.problem.textContent = words;
    place.input.setAttribute("aria-invalid", "true");
    place.input.closest(".more")?.setAttribute("open", "");
    return true;
  }

  calm() {
    for (const { problem, input } of Object.values(this.fields)) {
      problem.textContent = "";
      input.removeAttribute("aria-invalid");
    }
  }

  #edited() {
    this.#show();
    this.changed();
  }

  #show() {
    this.title.textContent = this.name || "rule";
    this.summary.textContent = ruleSentence(this.value);
    this.choice.textContent = `Of ${this.chosen().join(", ") || "which classes?"}`;
    this.thresholds.hidden = !this.#compares;
    this.terms.hidden = LEARNING.includes(this.kind.value);
  }

  /** Whether it holds a share against thresholds. */
  get #compares() { return !["dominant", ...LEARNING].includes(this.kind.value); }

  #text(key, value, more = {}) {
    return el("input", { id: `${this.id}-${key}`, type: "text", autocomplete: "off", ...more, props: { value } });
  }

  #row(key, label, input) {
    const problem = el("p", { class: "problem", id: `${input.id}-problem` });
    input.setAttribute("aria-describedby", problem.id);
    this.fields[key] = { input, problem };
    return el("div", { class: "row" }, el("label", { for: input.id }, label), input, problem);
  }

  #classes(chosen) {
    const names = [...Object.keys(this.camera.groups), ...this.camera.classes.map((one) => one.name).filter((name) => name !== "background")];
    const boxes = names.map((name) => el("input", { type: "checkbox", value: name, props: { checked: chosen.includes(name) } }));
    const problem = el("p", { class: "problem", id: `${this.id}-terms-problem` });
    const set = el("fieldset", { class: "terms", "aria-describedby": problem.id }, el("legend", { class: "sr" }, "Classes"),
      boxes.map((box) => el("label", { class: "chip" }, box, box.value)));
    this.fields.terms = { input: set, problem };
    this.chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
    this.choice = el("summary");
    return el("details", { class: "more", open: !chosen.length }, this.choice, set, problem);
  }
}

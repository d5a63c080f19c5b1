// Where a token is needed.

import { api, Refused } from "./api.js";
import { el } from "./dom.js";

export class Login {
  /** done: called once the cookie is there. */
  constructor(done) {
    const field = el("input", { id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "token-hint token-problem" });
    const problem = el("p", { id: "token-problem", class: "problem", role: "alert" });
    const form = el("form", { class: "login" }, el("h1", {}, "Who is there?"),
      el("label", { for: "token" }, "Token"), field,
      el("p", { id: "token-hint", class: "hint" }, "It stands in the file that token_file names in the pipeline file."),
      problem, el("button", { class: "button primary" }, "Enter"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      problem.textContent = "";
      try {
        await api.login(field.value);
        done();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        problem.textContent = error.status === 401 ? "That is not the token." : error.message;
        field.select();
      }
    });
    this.node = form;
    this.field = field;
  }

  close() {}
}

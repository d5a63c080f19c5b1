// Which page is shown. #/ is the dashboard, #/edit/CAMERA[/ZONE] the editor.

import { Dashboard } from "./dashboard.js";
import { Header } from "./header.js";
import { Live } from "./live.js";

const live = new Live();
const header = new Header(live);
const main = document.getElementById("page");
let page = null;

function show(next) {
  page?.close();
  page = next;
  main.replaceChildren(next.node);
  main.removeAttribute("aria-busy");
}

async function route() {
  if (page?.leave && location.hash === page.hash) return;
  if (page?.leave && !page.leave()) { history.replaceState(null, "", page.hash); return; }
  const [, place, camera, zone] = location.hash.slice(1).split("/").map(decodeURIComponent);
  if (place === "edit" && live.camera(camera)) {
    const { Editor } = await import("./editor.js");
    show(new Editor(live, camera, zone ?? null));
    await page.load();
    main.focus({ preventScroll: true });
  } else show(new Dashboard(live));
  header.update();
}

live.addEventListener("token", async () => {
  const { Login } = await import("./login.js");
  const login = new Login(() => { header.known(); live.start(); });
  show(login);
  login.field.focus();
});

live.addEventListener("cameras", () => {
  window.addEventListener("hashchange", route);
  route();
}, { once: true });

document.getElementById("skip").addEventListener("click", () => main.focus());
live.start();

// Elements without a framework: el("button", {class: "quiet", onclick: save}, "Save").

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `on...` are listeners, `class` and attributes are set as written; null and false are left
 * out, true stands alone. Properties that have no attribute (value, checked) go in `props`. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "props") Object.assign(node, value);
    // The page's policy forbids style attributes; single properties are allowed.
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets text only where it differs, so that nothing is repainted or read out for no reason. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

let announcer = null;

/** Tells people who hear the page. */
export function announce(text) {
  announcer ??= document.getElementById("announcer");
  announcer.textContent = "";
  // A screen reader reads a change, not a repetition.
  requestAnimationFrame(() => { announcer.textContent = text; });
}

/** A small drawing of strokes on a 24 x 24 grid. */
export function icon(path) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: path }));
}

export const ICONS = {
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  undo: "M8 5L4 9l4 4M4 9h10a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9H10a6 6 0 000 12h3",
  freeze: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  cut: "M5 5h14v14H5zM9 9h6v6H9z",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  pen: "M4 20l1-5L16 4l4 4L9 19z",
  box: "M5 6h14v12H5z",
};

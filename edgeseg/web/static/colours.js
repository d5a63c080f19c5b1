// Class colours come from the model's palette, made for pictures; on paper they must be legible too.

const DARK = matchMedia("(prefers-color-scheme: dark)");
const GROUND = { light: [255, 255, 255], dark: [23, 30, 38] };
// WCAG 2.1, 1.4.3: text.
const CONTRAST = 4.5;
const known = new Map();

/** Returns how to end that. */
export function onThemeChange(work) {
  DARK.addEventListener("change", work);
  return () => DARK.removeEventListener("change", work);
}

/** The colour, lighter or darker as far as it takes to be read on the page's cards. */
export function legible(colour) {
  const theme = DARK.matches ? "dark" : "light", key = theme + colour;
  if (!known.has(key)) known.set(key, adjusted(parse(colour), GROUND[theme], theme === "dark"));
  return known.get(key);
}

/** What no network painted: black is the palette's word for "nothing in particular". */
export const isGround = ({ colour }) => colour === "#000000";

function parse(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

function adjusted(rgb, ground, lighter) {
  const target = lighter ? 255 : 0;
  for (let share = 0; share <= 1; share += 0.04) {
    const mixed = rgb.map((value) => Math.round(value + (target - value) * share));
    if (contrast(mixed, ground) >= CONTRAST) return `rgb(${mixed.join(" ")})`;
  }
  return `rgb(${target} ${target} ${target})`;
}

// Relative luminance and contrast ratio as WCAG 2.1 defines them.
function luminance(rgb) {
  const [r, g, b] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

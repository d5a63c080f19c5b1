// A zone as the pipeline file has it, and as it is drawn.

/** [{kind, points}] of a zone of the file: polygon and exclude hold one polygon or several. */
export function ringsOf(zone) {
  return [
    ...polygons(zone.polygon).map((points) => ({ kind: "include", points })),
    ...polygons(zone.exclude).map((points) => ({ kind: "exclude", points })),
  ];
}

function polygons(value) {
  if (!value?.length) return [];
  return typeof value[0][0] === "number" ? [value] : value;
}

const pointsOf = (rings, kind) => rings.filter((ring) => ring.kind === kind).map((ring) => ring.points);

/** The zone with what was drawn and said in place of what it had; what the page does not show stays. */
export function zoneWith(zone, { title, rings, rules }) {
  const include = pointsOf(rings, "include"), exclude = pointsOf(rings, "exclude");
  const next = { ...zone, name: title, polygon: include.length === 1 ? include[0] : include, exclude, rules };
  if (!title) delete next.name;
  if (!exclude.length) delete next.exclude;
  if (!Object.keys(rules).length) delete next.rules;
  return next;
}

/** What /measure takes. */
export function draftOf(zone, rings) {
  return { polygon: pointsOf(rings, "include"), exclude: pointsOf(rings, "exclude"), confidence: shareOf(zone.confidence) };
}

/** "50 %" -> 0.5. */
export function shareOf(text) {
  if (typeof text === "number") return text;
  const found = /^\s*([\d.]+)\s*%\s*$/.exec(text ?? "");
  return found ? Number(found[1]) / 100 : 0;
}

/** A number that was typed without its unit gets it: the file takes none without. */
export function withUnit(text, unit) {
  const plain = text.trim();
  return /^[\d.]+$/.test(plain) ? `${plain} ${unit}` : plain;
}

/** What a mistake is about, below the zone: "cameras.yard.zones.gate.rules.busy.enter" -> "rules.busy.enter". */
export function fieldOf(where, camera, zone) {
  if (/^(polygon|exclude)\b/.test(where)) return where.replace(/\[.*$/, "");
  const start = `cameras.${camera}.zones.${zone}`;
  if (where !== start && !where.startsWith(`${start}.`) && !where.startsWith(`${start}[`)) return null;
  return where.slice(start.length + 1).replace(/\[.*$/, "");
}

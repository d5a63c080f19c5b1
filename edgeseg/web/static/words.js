// Numbers, times and states as people say them.

/** 0.342 -> "34 %", small shares with a decimal: "0.6 %". The space does not break. */
export function percent(share) {
  if (share === null || share === undefined) return "unknown";
  const value = 100 * share;
  if (value > 0 && value < 0.05) return "<\u00a00.1\u00a0%";
  return `${value > 0 && value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)}\u00a0%`;
}

/** Seconds as "850 ms", "12 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return join(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return join(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return join(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

function join(large, largeUnit, small, smallUnit) {
  return small ? `${large} ${largeUnit} ${small} ${smallUnit}` : `${large} ${largeUnit}`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

export const clock = (ms) => CLOCK.format(ms);
export const clockSeconds = (ms) => CLOCK_SECONDS.format(ms);

/** "14:05", and with the day where it was another one. */
export function moment(ms) {
  const day = new Date(ms).toDateString() === new Date().toDateString() ? "" : `${DAY.format(ms)}, `;
  return day + CLOCK.format(ms);
}

const REASONS = {
  starting: "has not seen a picture yet",
  connecting: "connecting to the camera",
  stale: "no new picture for a while",
  offline: "the camera does not answer",
  disabled: "switched off",
  auth: "the camera refused the user name or password",
  timeout: "the camera does not answer in time",
  not_found: "there is no such camera, stream or file",
  tls: "no secure connection with the camera",
  codec: "the video cannot be decoded",
  refused: "the connection was refused",
  ended: "the video has come to its end",
  truncated: "the file is incomplete",
  crashed: "the decoder crashed; it starts again",
  frozen: "the picture stands still",
  dark: "too dark to see",
  blown_out: "too bright to see",
  low_confidence: "the network is not sure",
  blurred: "too blurred to see",
  covered: "something covers the lens",
  moved: "the camera looks elsewhere than before",
};

/** Why something is not known, in words; an unknown reason as it came. */
export function reasonWords(reason) {
  if (!reason) return "";
  const [first, ...rest] = String(reason).split(": ");
  const words = REASONS[first] ?? first.replaceAll("_", " ");
  return rest.length ? `${words}: ${rest.join(": ")}` : words;
}

const STATES = {
  live: ["Live", "good"],
  connecting: ["Connecting", "wait"],
  stale: ["Stale", "warn"],
  frozen: ["Frozen", "warn"],
  dark: ["Dark", "warn"],
  blown_out: ["Too bright", "warn"],
  blurred: ["Blurred", "warn"],
  covered: ["Covered", "warn"],
  moved: ["Moved", "warn"],
  offline: ["Offline", "bad"],
  disabled: ["Off", "wait"],
};

/** {label, tone, detail} of a camera's state. */
export function cameraState(status) {
  const [label, tone] = STATES[status?.state] ?? ["Starting", "wait"];
  const reason = status?.reason ?? (status?.state === "live" ? null : status?.state);
  return { label, tone, detail: reasonWords(reason) };
}

/** What a rule of the pipeline file says, as a sentence. */
export function ruleSentence(rule) {
  const what = (names) => (names?.length ? names.join(" or ") : "something");
  const enter = percentOf(rule.enter), held = rule.for ? ` for ${rule.for}` : "";
  if (rule.occupied) return `when ${what(rule.occupied)} covers at least ${enter ?? "10 %"}${held}`;
  if (rule.absent) return `when ${what(rule.absent)} covers less than ${enter ?? "1 %"}${held}`;
  if (rule.changed === "dominant") return `when another class than ${rule.reference ?? "usual"} covers most${held}`;
  if (rule.changed === "unusual") return `when it looks unlike normal for the hour${held}`;
  if (rule.changed === "drifted") return `when it has slowly become another thing${held}`;
  if (rule.changed) return `when ${what([].concat(rule.changed.from))} covers less than ${enter ?? "50 %"}${held}`;
  return "";
}

function percentOf(value) {
  return typeof value === "number" ? percent(value) : value;
}

const KINDS = { occupied: "is occupied", absent: "is missing", changed: "has changed", camera: "camera" };

/** "Loading bay: vehicle 34 %" in the words of an alert. */
export function alertTitle(alert, title) {
  if (alert.kind === "camera") return `${alert.camera} is away`;
  return `${title ?? alert.zone} ${KINDS[alert.kind] ?? alert.kind}`;
}

const ENDS = {
  cleared: "cleared",
  unknown: "ended: the zone became unknown",
  hours: "ended: outside its hours",
  config: "ended: its rule was changed",
};

export function endWords(reason) {
  return ENDS[reason] ?? reason ?? "";
}

/** "loading_bay" of "Loading bay": what programs call it. */
export function keyOf(title) {
  const plain = title.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "").slice(0, 40);
}

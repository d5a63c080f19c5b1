// The HTTP API, described in /openapi.json.

const ROOT = "api/v1";

/** An answer that is not 2xx. status 0: no answer at all. problems: mistakes of a draft, [{where, message}]. */
export class Refused extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(`${ROOT}/${path}`, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "edgeseg does not answer");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said.error ?? response.statusText, said.problems ?? []);
}

const asJson = async (path, options) => (await request(path, options)).json();
const send = (method, body, headers = {}) => ({
  method, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body),
});
const camera = (name) => `cameras/${encodeURIComponent(name)}`;
const zone = (name, key) => `${camera(name)}/zones/${encodeURIComponent(key)}`;

export const api = {
  node: () => asJson("node"),
  cameras: async () => (await asJson("cameras")).cameras,
  occupancy: async () => (await asJson("occupancy")).occupancy,
  alerts: async (limit = 50) => (await asJson(`alerts?limit=${limit}`)).alerts,
  enable: (name, enabled) => request(`${camera(name)}/enabled`, send("POST", { enabled })),
  setRate: (name, rate) => request(`${camera(name)}/rate`, send("POST", { rate })),
  picture: (name, signal) => request(`${camera(name)}/picture.jpg`, { signal }),
  labels: (name, signal) => request(`${camera(name)}/labels.png`, { signal }),
  measure: (name, draft, signal) => asJson(`${camera(name)}/measure`, { ...send("POST", draft), signal }),
  tryRule: (name, key, rule) => asJson(`${camera(name)}/try-rule`, send("POST", { zone: key, rule })),
  login: (token) => request("login", send("POST", { token })),
  logout: () => request("logout", { method: "POST" }),

  /** Steps of a zone's history. from: ms. */
  history: (name, key, resolution, from) =>
    asJson(`${zone(name, key)}/history?${new URLSearchParams({ resolution, from: new Date(from).toISOString() })}`),

  /** {zones, etag}: as the file has them. */
  async zones(name) {
    const response = await request(`${camera(name)}/zones`);
    return { zones: (await response.json()).zones, etag: response.headers.get("ETag") };
  },
  /** {digest, etag}. */
  async saveZone(name, key, body, etag) {
    const response = await request(zone(name, key), send("PUT", body, { "If-Match": etag }));
    return { ...(await response.json()), etag: response.headers.get("ETag") };
  },
  async deleteZone(name, key, etag) {
    const response = await request(zone(name, key), { method: "DELETE", headers: { "If-Match": etag } });
    return { ...(await response.json()), etag: response.headers.get("ETag") };
  },

  /** The address of the live WebSocket. */
  liveUrl() {
    const url = new URL(`${ROOT}/live`, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    return url.href;
  },
};

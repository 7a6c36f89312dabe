// Reading from the server. Answers are those of the tools of the same name; see mcp_server/http/dashboard/reading.py.

/** status: of HTTP, 0 where the server did not answer. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The answer of an endpoint. Arguments that are null, undefined or "" are left out. Throws a Problem. */
export async function get(name, args = {}, signal = undefined) {
  const given = Object.entries(args).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given);
  const response = await reach(`/dashboard/api/${name}?${query}`, { signal, headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Problem(response.status, body.message ?? "The server refused this.");
}

/** Has a person's decision taken: the answer of the tool. Throws a Problem. */
export async function decide(name, args) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const response = await reach(`/dashboard/api/${name}`, { method: "POST", headers, body: JSON.stringify(args) });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Problem(response.status, body.message ?? "The server refused this.");
}

/** Draws the page again where nobody is signed in any more: that shows the way in (see app.js). */
export function askWhoIsThere(problem) {
  if (problem.status === 401) window.dispatchEvent(new Event("hashchange"));
}

/** End the session. What there is to say of it, "" where it has ended everywhere. */
export async function signOut() {
  const response = await reach("/dashboard/logout", { method: "POST" });
  const body = response.status === 204 ? {} : await response.json().catch(() => ({}));
  return body.message ?? (response.ok ? "" : "The server refused this.");
}

async function reach(address, options) {
  try {
    return await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. It may have been stopped.");
  }
}

/** Runs at most `width` of the tasks at a time, and the others afterwards, in order. */
export function lanes(width) {
  const waiting = [];
  let running = 0;
  const next = () => {
    while (running < width && waiting.length) {
      running += 1;
      waiting.shift()().finally(() => { running -= 1; next(); });
    }
  };
  return (task) => new Promise((resolve, reject) => {
    waiting.push(() => task().then(resolve, reject));
    next();
  });
}

const AGAIN_AFTER = 10_000;
// The server ends each stream after some minutes, and the browser comes back by itself.
const LOST_AFTER = 6_000;

/**
 * New events until the signal aborts, while the page can be seen. take(event) for each; state("live" | "lost"); ready()
 * whenever the stream begins, or more happened than it tells, when the latest should be read. An event may come twice.
 */
export function watch({ take, state, ready, signal }) {
  let source = null, again = 0, lost = 0;
  const found = () => { clearTimeout(lost); lost = 0; };
  const close = () => { clearTimeout(again); found(); source?.close(); };
  const connect = () => {
    close();
    if (signal.aborted || document.hidden) return;
    source = new EventSource("/dashboard/events");
    source.addEventListener("ready", () => { found(); state("live"); ready(); });
    source.addEventListener("message", (message) => take(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      lost ||= setTimeout(() => state("lost"), LOST_AFTER);
      if (source.readyState !== EventSource.CLOSED) return;
      // The server has refused it, and the browser does not say why.
      again = setTimeout(connect, AGAIN_AFTER);
      get("viewer", {}, signal).catch(askWhoIsThere);
    });
  };
  // A browser has few connections for one server, and a tab that nobody sees needs none.
  document.addEventListener("visibilitychange", connect, { signal });
  signal.addEventListener("abort", close);
  connect();
}

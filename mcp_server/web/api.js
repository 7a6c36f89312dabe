// Reading from the server. Answers are those of the tools of the same name; see mcp_server/http/dashboard/reading.py.

/** status: of HTTP, 0 where the server did not answer. */
export class Problem extends Error {
  constructor(status, message, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The answer of an endpoint. Arguments that are null, undefined or "" are left out. Throws a Problem. */
export async function get(name, args = {}, signal = undefined) {
  const given = Object.entries(args).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given);
  const response = await reach(`/dashboard/api/${name}?${query}`, { signal, headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Problem(response.status, body.message ?? "The server refused this.", Number(response.headers.get("retry-after") ?? 0));
}

/** End the session. */
export const signOut = () => reach("/dashboard/logout", { method: "POST" });

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

/**
 * New events until the signal aborts, while the page can be seen. take(event) for each; state("live" | "lost"); ready()
 * whenever the stream begins, when what happened before should be read. An event may come twice.
 */
export function watch({ take, state, ready, signal }) {
  let source = null, timer = 0;
  const close = () => { clearTimeout(timer); source?.close(); };
  const connect = () => {
    close();
    if (signal.aborted || document.hidden) return;
    source = new EventSource("/dashboard/events");
    source.addEventListener("ready", () => { state("live"); ready(); });
    source.addEventListener("message", (message) => take(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      state("lost");
      // It comes back by itself, unless the server has refused it.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, AGAIN_AFTER);
    });
  };
  // A browser has few connections for one server, and a tab that nobody sees needs none.
  document.addEventListener("visibilitychange", connect, { signal });
  signal.addEventListener("abort", close);
  connect();
}

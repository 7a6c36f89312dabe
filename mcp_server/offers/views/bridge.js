// The view's side of MCP Apps: JSON-RPC with the host that embeds it. The host's origin is unknown to a view, which has
// none itself, so the window is what tells it: whatever another one sends is ignored.

const PROTOCOL = "2026-01-26";
const METHOD_NOT_FOUND = -32601;
const waiting = new Map();
let lastId = 0;

const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

/** A promise of the host's result. It is rejected with an Error of the host's message. */
export function request(method, params) {
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    send({ id, method, params });
  });
}

/**
 * Shake hands. handlers: Map of a notification's method -> what takes its params. Answers what the host offers, its
 * capabilities; how it looks is applied to the document, now and whenever it changes.
 */
export async function connect(handlers) {
  window.addEventListener("message", (event) => event.source === window.parent && receive(event.data, handlers));
  const { tool, version } = document.documentElement.dataset;
  const answer = await request("ui/initialize", {
    protocolVersion: PROTOCOL, appInfo: { name: tool, version }, appCapabilities: { availableDisplayModes: ["inline"] },
  });
  look(answer?.hostContext ?? {});
  send({ method: "ui/notifications/initialized" });
  new ResizeObserver(tellSize).observe(document.documentElement);
  return answer?.hostCapabilities ?? {};
}

function receive(message, handlers) {
  if (message?.jsonrpc !== "2.0") return;
  if (message.method === undefined) settle(message);
  else if (message.id !== undefined) reply(message);
  else if (message.method === "ui/notifications/host-context-changed") look(message.params ?? {});
  else handlers.get(message.method)?.(message.params ?? {});
}

function settle({ id, result, error }) {
  const promise = waiting.get(id);
  waiting.delete(id);
  if (error) promise?.reject(new Error(String(error.message ?? "The host refused.")));
  else promise?.resolve(result);
}

function reply({ id, method }) {
  if (method === "ping" || method === "ui/resource-teardown") send({ id, result: {} });
  else send({ id, error: { code: METHOD_NOT_FOUND, message: "This view does not have the method." } });
}

/** The theme and the style variables of the host. Its colours are taken where both a ground and a text are given. */
function look({ theme, styles }) {
  const root = document.documentElement;
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  for (const [name, value] of Object.entries(styles?.variables ?? {})) {
    if (name.startsWith("--") && typeof value === "string") root.style.setProperty(name, value);
  }
  const isGiven = (name) => root.style.getPropertyValue(name) !== "";
  root.toggleAttribute("data-styled", isGiven("--color-background-primary") && isGiven("--color-text-primary"));
}

let told = "";

function tellSize() {
  const size = { width: window.innerWidth, height: Math.ceil(document.documentElement.getBoundingClientRect().height) };
  if (told === JSON.stringify(size)) return;
  told = JSON.stringify(size);
  send({ method: "ui/notifications/size-changed", params: size });
}

// The shell: which page is shown, what it is called, who looks at it.

import { get, Problem, signOut } from "/dashboard/static/api.js";
import { h, heading, loading, s, trouble } from "/dashboard/static/parts.js";
import * as approvals from "/dashboard/static/approvals.js";
import * as campaigns from "/dashboard/static/campaigns.js";
import * as campaign from "/dashboard/static/campaign.js";
import * as due from "/dashboard/static/due.js";
import * as enrollment from "/dashboard/static/enrollment.js";
import * as events from "/dashboard/static/events.js";
import * as health from "/dashboard/static/health.js";
import * as inbox from "/dashboard/static/inbox.js";
import * as jobs from "/dashboard/static/jobs.js";
import * as orphans from "/dashboard/static/orphans.js";
import * as suppressions from "/dashboard/static/suppressions.js";
import * as thread from "/dashboard/static/thread.js";

// [path, name in the menu, icon (24 x 24), page]. A page is show(root, {id, signal, announce, title}).
const MENU = [
  ["campaigns", "Campaigns", "M4 19V9m5 10V5m5 14v-7m5 7V8", campaigns],
  ["due", "Due", "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z", due],
  ["inbox", "Inbox", "M4 6h16v12H4V6Zm0 1 8 6 8-6", inbox],
  ["approvals", "Approvals", "M5 13l4 4L19 7", approvals],
  ["events", "Events", "M3 12h4l3-8 4 16 3-8h4", events],
  ["orphans", "Orphans", "M12 4 3 20h18L12 4Zm0 6v5m0 2.500v.1", orphans],
  ["jobs", "Jobs", "M4 6h16M4 12h16M4 18h10", jobs],
  ["suppressions", "Suppressions", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM6 6l12 12", suppressions],
  ["health", "Health", "M12 20S4 15 4 9a4 4 0 0 1 8-1.500A4 4 0 0 1 20 9c0 6-8 11-8 11Z", health],
];
const PAGES = { ...Object.fromEntries(MENU.map(([path, , , page]) => [path, page])), enrollments: enrollment, threads: thread };
// Pages that are opened from others, and the entry of the menu that they belong to.
const OPENED_FROM = { enrollments: "", threads: "inbox" };

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const menu = document.getElementById("menu");
let current = new AbortController();
let isFirst = true;

function announce(text) {
  document.getElementById("announcer").textContent = text;
}

function title(text) {
  document.title = `${text.slice(0, 80)} · sales-automation-mcp`;
}

function drawMenu() {
  nav.append(h("ul", {}, MENU.map(([path, name, icon]) => h("li", {},
    h("a", { href: `#/${path}`, "data-path": path },
      s("svg", { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true" }, s("path", { d: icon })), name)))));
  menu.addEventListener("click", () => showMenu(menu.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") { showMenu(false); menu.focus(); }
  });
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
}

function showMenu(isOpen) {
  menu.setAttribute("aria-expanded", String(isOpen));
  nav.classList.toggle("open", isOpen);
}

function markMenu(path) {
  for (const link of nav.querySelectorAll("a")) {
    if (link.dataset.path === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function open() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const [path, id = null] = location.hash.replace(/^#\//, "").split("/");
  current.abort();
  document.body.classList.remove("signed-out");
  const turn = current = new AbortController();
  const name = path || "campaigns";
  const page = name === "campaigns" && id ? campaign : Object.hasOwn(PAGES, name) && PAGES[name];
  markMenu(OPENED_FROM[name] ?? name);
  showMenu(false);
  const root = h("div", { class: "page" }, loading());
  main.replaceChildren(root);
  main.setAttribute("aria-busy", "true");
  try {
    if (!page) throw new Problem(404, "There is no such page. The menu shows those that there are.");
    await page.show(root, { id, signal: turn.signal, announce, title });
  } catch (problem) {
    if (turn.signal.aborted) return;
    if (!(problem instanceof Problem)) console.error(problem);
    root.replaceChildren(...(problem.status === 401 ? signIn() : failure(problem)));
  }
  if (turn.signal.aborted) return;
  main.removeAttribute("aria-busy");
  // A page that was opened by a link is read from its heading on; the first one from the top.
  if (!isFirst) root.querySelector("h1")?.focus();
  isFirst = false;
}

function failure(problem) {
  title("Not to be had");
  return [heading(problem.status === 404 ? "Not found" : "This page could not be loaded"), trouble(problem, open)];
}

function signIn() {
  title("Sign in");
  document.body.classList.add("signed-out");
  const said = sessionStorage.getItem("signed-out");
  sessionStorage.removeItem("signed-out");
  return [h("section", { class: "card sign-in" },
    h("h1", { tabindex: -1 }, "Sign in"),
    said ? h("p", { role: "status" }, said) : "",
    h("p", {}, "Make a link where the server runs, or wherever its database can be reached, and open it in this browser:"),
    h("pre", {}, h("code", {}, `sales-automation-mcp dashboard --url ${location.origin}`)),
    h("p", {}, "A dashboard that was opened without --url shows its link where it was started. Once used, start it again: ", h("code", {}, "sales-automation-mcp dashboard")),
    h("p", { class: "muted" }, "It holds once, for five minutes, and signs you in for twelve hours, to look, and to approve what goes out."))];
}

async function drawWho() {
  const viewer = await get("viewer").catch(() => null);
  if (!viewer) return;
  const who = document.getElementById("who");
  who.replaceChildren(h("span", {}, `v${viewer.version} · ${viewer.scopes.includes("approve") ? "may approve" : "read-only"}`));
  if (!viewer.is_session) return;
  const button = h("button", { type: "button", class: "button quiet" }, "Sign out");
  button.addEventListener("click", async () => {
    const said = await signOut().catch((problem) => problem.message);
    if (said) sessionStorage.setItem("signed-out", said);
    location.hash = "#/campaigns";
    location.reload();
  });
  who.append(button);
}

drawMenu();
window.addEventListener("hashchange", open);
open();
drawWho();

// How the server is.

import { askWhoIsThere, decide, get } from "/dashboard/static/api.js";
import { badge, card, count, empty, h, heading, table, trouble, when, words } from "/dashboard/static/parts.js";

export async function show(root, { signal, announce, title }) {
  title("Health");
  const [health, viewer] = await Promise.all([get("health", {}, signal), get("viewer", {}, signal)]);
  const again = h("button", { type: "button", class: "button" }, "Refresh");
  again.addEventListener("click", () => show(root, { signal, announce, title }).then(() => root.querySelector("h1").focus(), (problem) => root.append(trouble(problem))));
  root.replaceChildren(
    heading("Health", badge(health.status), again),
    tiles(health),
    ...stopped(health).map((line) => h("p", { class: "warning", role: "note" }, line)),
    h("div", { class: "columns" },
      card("Calls", calls(health.calls)),
      h("div", { class: "column" },
        card("Sending from mailboxes", ...sending(health.sending_stopped_at, viewer.scopes.includes("approve"), announce)),
        card("Jobs", facts(health.jobs ?? {}, "The local store is not to be had.")),
        card("Events since the start", tallies(health.events, "verdict")),
        card("Webhooks since the start", tallies(health.webhooks, "verdict")),
        card("Requests turned away", tallies(health.refused_requests, "reason")))),
    h("p", { class: "muted" }, "Counts begin with the process. /metrics has the same for Prometheus."));
}

function tiles(health) {
  const { pool } = health;
  const shown = [
    ["Database", words(health.database)],
    ["Connections in use", pool ? `${pool.in_use} of ${pool.limit}` : "–"],
    ["Callers waiting", pool ? count(pool.waiting) : "–"],
    ["Orphans waiting", health.orphans_waiting === undefined ? "–" : count(health.orphans_waiting)],
    ["Slow queries", count(health.slow_queries)],
    ["Retries", count(health.retries)],
  ];
  return h("dl", { class: "tiles" }, shown.map(([name, value]) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value))));
}

/** Whether mail goes out, and a button that holds all of it, or lets it go on. */
function sending(stoppedAt, mayDecide, announce) {
  const box = h("div", {});
  const fault = h("div", { "aria-live": "polite" });
  const draw = (since, underWay = 0) => {
    const state = since
      ? ["All sending is stopped since ", when(since), ", in every server.", underWay ? ` ${count(underWay)} had begun before.` : ""]
      : ["Servers may send."];
    const button = h("button", { type: "button", class: "button" }, since ? "Start sending" : "Stop all sending");
    button.addEventListener("click", async () => {
      if (button.hasAttribute("aria-disabled")) return;
      button.setAttribute("aria-disabled", "true");
      fault.replaceChildren();
      try {
        const { sending_stopped_at: now, under_way: left } = await decide(since ? "start" : "stop", {});
        draw(now, left);
        announce(now ? "All sending is stopped" : "Servers may send");
        box.querySelector("button").focus();
      } catch (problem) {
        askWhoIsThere(problem);
        button.removeAttribute("aria-disabled");
        fault.replaceChildren(trouble(problem));
      }
    });
    box.replaceChildren(h("p", {}, ...state), mayDecide ? button : "");
  };
  draw(stoppedAt);
  return [box, fault];
}

/** Campaigns that the server has paused, and mailboxes that it has paused or can't use: a line each. */
function stopped(health) {
  const campaigns = Object.entries(health.paused_campaigns ?? {});
  const mailboxes = (health.mailboxes ?? []).filter((mailbox) => mailbox.problem);
  return [
    ...campaigns.map(([id, why]) => [h("a", { href: `#/campaigns/${id}` }, "This campaign"), ` is paused. ${why}`]),
    ...mailboxes.map((mailbox) => `${mailbox.address} is ${mailbox.status}. ${mailbox.problem}`),
  ];
}

function calls(rows) {
  if (!rows.length) return empty("No call yet", "What agents call shows up here, with how long it took.");
  return table("Calls", [
    { name: "Tool", cell: (row) => h("code", {}, row.tool) },
    { name: "Outcome", cell: (row) => badge(row.outcome) },
    { name: "Calls", kind: "number", cell: (row) => count(row.calls) },
    { name: "Mean", kind: "number", cell: (row) => milliseconds(row.seconds / row.calls) },
    { name: "95 of 100 within", kind: "number", cell: (row) => (row.p95_seconds === undefined ? "over 10 s" : milliseconds(row.p95_seconds)) },
  ], rows).element;
}

const milliseconds = (seconds) => (seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`);

function facts(counted, none) {
  const entries = Object.entries(counted);
  if (!entries.length) return h("p", { class: "muted" }, none);
  return h("dl", { class: "facts" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, words(name)), h("dd", {}, count(value)))));
}

const tallies = (rows, kind) => facts(Object.fromEntries(rows.map((row) => [`${row.provider ?? row.part}: ${row[kind].replaceAll("_", " ")}`, row.count])), "None.");


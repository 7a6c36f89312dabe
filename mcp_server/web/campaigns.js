// All campaigns: their state, how far they are, what came of them.

import { get, lanes } from "/dashboard/static/api.js";
import {
  badge, choice, count, empty, given, h, heading, paged, pages, percent, progress, redrawn, relative, search, table, when,
} from "/dashboard/static/parts.js";

const STATES = { "": "All states", draft: "Draft", active: "Active", paused: "Paused", completed: "Completed", failed: "Failed" };

export async function show(root, { signal, announce, title }) {
  title("Campaigns");
  let status = "", typed = "";
  const draw = () => campaigns(status, typed, signal, announce);
  const list = h("div", {}, await draw());
  const refresh = redrawn(list, draw);
  const byState = choice("State", STATES, status, (value) => { status = value; refresh(); });
  const byName = search("Name or id starts with", (value) => { typed = value; refresh(); });
  root.replaceChildren(heading("Campaigns"), h("div", { class: "tools" }, byName, byState), h("section", { class: "card" }, list));
}

function campaigns(status, typed, signal, announce) {
  const inLanes = lanes(4);
  const columns = [
    { name: "Campaign", cell: (row) => h("div", { class: "stack" }, given(row.name, { href: `#/campaigns/${row.id}` }), since(row)) },
    { name: "State", cell: (row) => badge(row.status) },
    { name: "Progress", kind: "wide", cell: (row) => row.slots.progress },
    { name: "Sent", kind: "number", cell: (row) => row.slots.sent },
    { name: "Opened", kind: "number", cell: (row) => row.slots.opened },
    { name: "Replied", kind: "number", cell: (row) => row.slots.replied },
    { name: "Next step", kind: "moment", cell: (row) => row.slots.next },
  ];
  return paged({
    name: "campaigns",
    announce,
    read: async (cursor) => {
      const page = typed ? await found(typed, status, signal) : await pages("campaigns", "campaigns", { status }, signal)(cursor);
      for (const row of page.rows) fillIn(row, inLanes, signal);
      return page;
    },
    draw: (rows) => table("Campaigns", columns, rows),
    none: () => typed || status
      ? empty("No campaign fits", "Search for the start of a name, or choose another state.")
      : empty("No campaign yet", "Ask your agent to plan one, or call create_template and then create_campaign. It shows up here at once.",
        "“Plan a campaign that books demos with heads of support.”"),
  });
}

async function found(typed, status, signal) {
  const { campaigns: rows } = await get("find", { typed }, signal);
  return { rows: rows.filter((row) => !status || row.status === status), next: null };
}

const since = (row) => row.started_at && h("span", { class: "muted" }, `started ${relative(row.started_at, Date.now())}`);

/** The numbers of a row follow when the row stands. */
function fillIn(row, inLanes, signal) {
  const slot = () => h("span", { class: "slot" }, "…");
  row.slots = { progress: slot(), sent: slot(), opened: slot(), replied: slot(), next: slot() };
  inLanes(() => get("metrics", { campaign_id: row.id }, signal)).then(({ totals, rates, channels, enrollment_status }) => {
    const shown = channels?.find((one) => one.key === "email")?.rates ?? rates;  // what LinkedIn steps do is not a part of it
    row.slots.progress.replaceChildren(progress(enrollment_status));
    row.slots.sent.replaceChildren(count(totals.sent));
    row.slots.opened.replaceChildren(percent(shown.open_rate));
    row.slots.replied.replaceChildren(percent(shown.reply_rate));
  }).catch(() => unknown(row));
  inLanes(() => get("explain", { campaign_id: row.id }, signal)).then((explain) => {
    row.slots.next.replaceChildren(next(explain));
  }).catch(() => row.slots.next.replaceChildren("–"));
}

function unknown({ slots }) {
  for (const each of [slots.progress, slots.sent, slots.opened, slots.replied]) each.replaceChildren("–");
}

function next(explain) {
  if (explain.due) return h("strong", { class: "good" }, "Due now");
  if (explain.next_at) return when(explain.next_at);
  const hold = explain.holds.find((one) => one.reason === "guardrail") ?? explain.holds[0];
  return h("span", { class: "muted" }, hold ? shortly(hold.reason) : "–");
}

const SHORT = {
  campaign_not_started: "not started", campaign_paused: "paused", campaign_ended: "over", nobody_waits: "nobody waits",
  guardrail: "paused by a guardrail",
};
const shortly = (reason) => SHORT[reason] ?? reason.replaceAll("_", " ");

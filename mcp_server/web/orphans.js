// Events that fit nobody, and why.

import { badge, choice, empty, given, h, heading, paged, pages, redrawn, table, when } from "/dashboard/static/parts.js";

export async function show(root, { signal, announce, title }) {
  title("Orphans");
  let status = "";
  const draw = () => orphans(status, signal, announce);
  const list = h("div", {}, await draw());
  const refresh = redrawn(list, draw);
  const byState = choice("State", { "": "All states", waiting: "Waiting", expired: "Expired" }, "", (value) => { status = value; refresh(); });
  root.replaceChildren(heading("Orphaned events"),
    h("p", { class: "lead" }, "What arrived and fits no enrollment. It is counted by itself as soon as its person is enrolled or its message is reported."),
    h("div", { class: "tools" }, byState), h("section", { class: "card" }, list));
}

const orphans = (status, signal, announce) => paged({
  name: "events",
  announce,
  read: pages("orphans", "orphans", { status }, signal),
  draw: (rows) => table("Orphaned events", [
    { name: "Event", cell: (row) => badge(row.event_type) },
    { name: "State", cell: (row) => badge(row.status) },
    { name: "Of", cell: (row) => given(row.email ?? row.provider_message_id, { fallback: "–" }) },
    { name: "Provider", cell: (row) => given(row.provider, { fallback: "–" }) },
    { name: "Happened", kind: "moment", cell: (row) => when(row.occurred_at) },
    { name: "Why it waits", kind: "wide", cell: (row) => given(row.reason) },
  ], rows),
  none: () => empty("Every event fits", "Nothing waits for its enrollment. Events of people who are not enrolled yet would stand here."),
});


// Threads: who answered, and which of them need an answer.

import { badge, choice, empty, given, h, heading, paged, pages, redrawn, table, when, words } from "/dashboard/static/parts.js";

const STATES = ["needs_answer", "delivery_unknown", "answered", "waiting", "closed"];
const KINDS = ["human", "auto_reply", "absence", "has_left", "unsubscribe", "bounce", "complaint", "other", "owner_wrote"];
const NONE = {
  needs_answer: ["Nobody waits for an answer", "Threads in which a person wrote last stand here. Choose another state to see the others."],
  delivery_unknown: ["Every mail is settled", "Threads with a mail of which nobody knows whether it went out stand here."],
};
const options = (all, values) => ({ "": all, ...Object.fromEntries(values.map((value) => [value, words(value)])) });

export async function show(root, { signal, announce, title }) {
  title("Inbox");
  const chosen = { state: "needs_answer", kind: "" };
  const draw = () => threads({ ...chosen }, signal, announce);
  const list = h("div", {}, await draw());
  const again = redrawn(list, draw);
  const refresh = (change) => again(Object.assign(chosen, change));
  root.replaceChildren(heading("Inbox"),
    h("p", { class: "lead" }, "Conversations by email, that with the latest message first. One needs an answer when a person wrote last."),
    h("div", { class: "tools" },
      choice("State", options("All states", STATES), chosen.state, (state) => refresh({ state })),
      choice("Came in last", options("Anything", KINDS), "", (kind) => refresh({ kind }))),
    h("section", { class: "card" }, list));
}

const threads = (chosen, signal, announce) => paged({
  name: "threads",
  announce,
  read: pages("threads", "threads", chosen, signal),
  draw: (rows) => table("Threads", [
    { name: "Person", cell: (row) => given(row.contact.name ?? row.contact.email ?? row.contact.linkedin_url, { href: `#/threads/${row.id}` }) },
    { name: "Subject", kind: "wide", cell: (row) => given(row.subject, { fallback: "–" }) },
    { name: "State", cell: (row) => badge(row.state) },
    { name: "Came in last", cell: (row) => (row.last_kind ? badge(row.last_kind) : "–") },
    { name: "Messages", kind: "number", cell: (row) => String(row.messages) },
    { name: "Latest", kind: "moment", cell: (row) => when(row.last_message_at) },
  ], rows),
  none: () => (NONE[chosen.kind ? "" : chosen.state] ? empty(...NONE[chosen.state])
    : empty("No thread fits", "Threads begin with the first email that is sent to a person. Choose another state or kind.")),
});

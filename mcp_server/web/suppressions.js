// Whom nobody writes to.

import { badge, choice, empty, given, h, heading, paged, pages, redrawn, search, table, when, words } from "/dashboard/static/parts.js";

const REASONS = ["unsubscribed", "bounced", "complained", "manual"];

export async function show(root, { signal, announce, title }) {
  title("Suppressions");
  const chosen = { reason: "", state: "", search: "" };
  const draw = () => suppressions({ ...chosen }, signal, announce);
  const list = h("div", {}, await draw());
  const again = redrawn(list, draw);
  const refresh = (change) => again(Object.assign(chosen, change));
  root.replaceChildren(heading("Suppressions"),
    h("p", { class: "lead" }, "Addresses that are never written to. An unsubscribe or a complaint stays for good."),
    h("div", { class: "tools" },
      search("Address contains", (value) => refresh({ search: value })),
      choice("Reason", { "": "All reasons", ...Object.fromEntries(REASONS.map((each) => [each, words(each)])) }, "", (reason) => refresh({ reason })),
      choice("State", { "": "All", active: "In force", expired: "Ended" }, "", (state) => refresh({ state }))),
    h("section", { class: "card" }, list));
}

const suppressions = (chosen, signal, announce) => paged({
  name: "addresses",
  announce,
  read: pages("suppressions", "suppressions", chosen, signal),
  draw: (rows) => table("Suppressions", [
    { name: "Address", cell: (row) => row.is_erased ? h("em", {}, "erased person") : given(row.email ?? row.domain ?? row.linkedin_url) },
    { name: "Reason", cell: (row) => badge(row.reason) },
    { name: "Source", cell: (row) => given(row.source, { fallback: "–" }) },
    { name: "Since", kind: "moment", cell: (row) => when(row.created_at) },
    { name: "Until", kind: "moment", cell: (row) => (row.expires_at ? when(row.expires_at) : "for good") },
  ], rows),
  none: () => (chosen.search || chosen.reason || chosen.state
    ? empty("No address fits", "Search for a part of it, or choose another reason.")
    : empty("Nobody is suppressed", "Unsubscribes, complaints and hard bounces land here by themselves; suppress adds an address by hand.")),
});

// One person in one campaign: each step, and what came of it.

import { explanation } from "/dashboard/static/charts.js";
import { get } from "/dashboard/static/api.js";
import { badge, card, empty, given, h, heading, table, when, words } from "/dashboard/static/parts.js";

const MOMENTS = ["sent", "delivered", "opened", "clicked", "replied", "accepted", "bounced", "hard_bounced", "unsubscribed", "complained", "failed"];

export async function show(root, { id, signal, title }) {
  const [{ enrollment }, explain] = await Promise.all([
    get("enrollment", { enrollment_id: id }, signal), get("explain", { enrollment_id: id }, signal),
  ]);
  const { contact } = enrollment;
  const name = [contact.first_name, contact.last_name].filter(Boolean).join(" ") || contact.email || "A person";
  title(name);
  root.replaceChildren(
    heading(given(name), badge(enrollment.status),
      h("span", { class: "muted" }, [contact.title, contact.company, contact.email].filter(Boolean).map((text, index) => [index ? " · " : "", given(text)]))),
    h("p", {}, h("a", { href: `#/campaigns/${enrollment.campaign_id}` }, "To the campaign")),
    h("div", { class: "columns" },
      card("Steps", steps(enrollment)),
      h("div", { class: "column" }, card("What happens next", explanation(explain)), card("Latest events", events(enrollment)))));
}

function steps({ actions }) {
  if (!actions.length) return empty("No step yet", "The first step shows up here when it is claimed.");
  return table("Steps", [
    { name: "Step", cell: (row) => `${row.step_number}, ${row.channel}${row.a_b_variant ? `, variant ${row.a_b_variant}` : ""}` },
    { name: "State", cell: (row) => badge(row.status) },
    { name: "What came of it", cell: (row) => h("ul", { class: "plain" },
      MOMENTS.filter((each) => row[`${each}_at`]).map((each) => h("li", {}, `${words(each)} `, h("span", { class: "muted" }, when(row[`${each}_at`])))),
      row.error && h("li", { class: "bad" }, given(row.error))) },
    { name: "Words", cell: said },
  ], actions).element;
}

/** The words of a step as they were handed out, folded: text, never markup. */
function said({ subject, body }) {
  if (!subject && !body) return h("span", { class: "muted" }, "none kept");
  return h("details", { class: "sa-data" },
    h("summary", {}, given(subject ?? "Message")), body && h("pre", { dir: "auto" }, body));
}

function events({ events: rows }) {
  if (!rows.length) return empty("No event yet", "What providers and agents report shows up here.");
  return h("ol", { class: "feed narrow" }, [...rows].reverse().map((event) =>
    h("li", {}, badge(event.event_type), h("span", { class: "muted" }, when(event.occurred_at)))));
}

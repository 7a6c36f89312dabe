// Who comes next, and what each of them waits for.

import { explanation } from "/dashboard/static/charts.js";
import { get, lanes } from "/dashboard/static/api.js";
import { count, empty, given, h, heading, moment, paged, person, relative, table } from "/dashboard/static/parts.js";

const BESIDE_OTHERS = 8;

export async function show(root, { signal, announce, title }) {
  title("Due");
  const list = await queue({}, signal, announce);
  root.replaceChildren(heading("Due"), h("p", { class: "lead" }, "The queue of all active campaigns, who comes first first, with what each of them waits for."), h("section", { class: "card" }, list));
}

/** The queue of one campaign ({campaign_id}), or of all of them ({}). */
export async function queue(of, signal, announce) {
  const inLanes = lanes(4);
  const columns = [
    { name: "Person", cell: (row) => person(row, `#/enrollments/${row.enrollment_id}`) },
    of.campaign_id ? null : { name: "Campaign", cell: (row) => given(row.campaign_name, { href: `#/campaigns/${row.campaign_id}` }) },
    { name: "Scheduled", kind: "moment", cell: (row) => h("div", { class: "stack" }, moment(row.next_action_at), h("span", { class: "muted" }, relative(row.next_action_at, Date.now()))) },
    { name: "Why it waits", kind: "wide", cell: (row) => row.slot },
  ].filter(Boolean);
  const summary = h("p", { class: "muted summary" });
  const list = await paged({
    name: "people",
    announce,
    read: async (cursor) => {
      const answer = await get("waiting", { ...of, limit: of.campaign_id ? BESIDE_OTHERS : 20, cursor }, signal);
      const due = answer.due > answer.due_most ? `more than ${count(answer.due_most)}` : count(answer.due);
      summary.replaceChildren(h("strong", {}, due), answer.due === 1 ? " step has reached its moment." : " steps have reached their moment.");
      for (const row of answer.waiting) fillIn(row, inLanes, signal);
      return { rows: answer.waiting, next: answer.next_cursor ?? null };
    },
    draw: (rows) => table("Queue", columns, rows),
    none: () => empty("Nobody waits for a step", "Steps are queued when a campaign is active and people are enrolled. start_campaign starts one, enroll_contacts brings people in."),
  });
  return of.campaign_id ? h("div", {}, h("h2", {}, "Due queue"), summary, list) : h("div", {}, summary, list);
}

function fillIn(row, inLanes, signal) {
  row.slot = h("div", { class: "slot" }, "…");
  inLanes(() => get("explain", { enrollment_id: row.enrollment_id }, signal))
    .then((explain) => row.slot.replaceChildren(explanation(explain, { isBrief: true })))
    .catch((problem) => row.slot.replaceChildren(problem.message ?? "–"));
}

// One campaign: what came of it, and who comes next.

import { cohorts, explanation, funnel, variants } from "/dashboard/static/charts.js";
import { get } from "/dashboard/static/api.js";
import { queue } from "/dashboard/static/due.js";
import { feed } from "/dashboard/static/events.js";
import { badge, card, count, given, h, heading, isEnded, percent, progress, when } from "/dashboard/static/parts.js";

export async function show(root, { id, signal, announce, title }) {
  const metrics = (group_by) => get("metrics", { campaign_id: id, group_by }, signal);
  const [{ campaign, warnings = [] }, bySteps, byVariants, byDays, byChannel, explain] = await Promise.all([
    get("campaign", { campaign_id: id }, signal), metrics("step"), metrics("variant"), metrics("day"), metrics("channel"),
    get("explain", { campaign_id: id }, signal),
  ]);
  title(campaign.name);
  const { template } = await get("template", { template_id: campaign.template_id }, signal).catch(() => ({ template: null }));
  const waits = card(null, await queue({ campaign_id: id }, signal, announce));
  const happened = card("Recent events", await feed({ campaign_id: id }, signal, announce));
  root.replaceChildren(
    heading(given(campaign.name), badge(campaign.status), subtitle(campaign, template)),
    ...warnings.map((text) => h("p", { class: "warning", role: "note" }, text)),
    tiles(bySteps, byChannel.groups),
    h("div", { class: "columns" },
      h("div", { class: "column" },
        card(null, funnel(bySteps, { steps: stepsOf(template) })),
        card(null, cohorts(byDays))),
      h("div", { class: "column" },
        card("What happens next", explanation(explain)),
        card("People", progress(bySteps.enrollment_status), statuses(bySteps.enrollment_status)))),
    ...(byVariants.groups.some((group) => group.key !== "") ? [card(null, variants(byVariants))] : []),
    waits,
    happened,
  );
}

function subtitle(campaign, template) {
  return h("span", { class: "muted" },
    template && ["from ", given(template.name)],
    campaign.started_at && [" · started ", when(campaign.started_at)],
    campaign.completed_at && [" · completed ", when(campaign.completed_at)]);
}

const OF_EMAIL = [
  ["Delivered", "delivery_rate", "sent"], ["Opened", "open_rate", "delivered"], ["Clicked", "click_rate", "delivered"],
  ["Bounced", "bounce_rate", "sent"],
];

/** What only emails do is told of the emails: a LinkedIn step is never delivered or opened. */
function tiles(metrics, channels) {
  const email = channels.find((group) => group.key === "email");
  const linkedin = channels.find((group) => group.key === "linkedin");
  const rated = [["email", email, "delivered"], ["LinkedIn", linkedin, "sent"]].filter(([, group]) => group);
  const replied = rated.map(([name, group, whole]) =>
    [rated.length > 1 ? `Reply rate, ${name}` : "Reply rate", percent(group.rates.reply_rate), whole]);
  const shown = [
    ...(replied.length ? replied : [["Reply rate", percent(null)]]),
    ["Enrolled", count(metrics.enrolled)],
    ["Sent", count(metrics.totals.sent)],
    ...(email ? OF_EMAIL.map(([name, rate, whole]) => [name, percent(email.rates[rate]), whole]) : []),
    ...(linkedin ? [["Connected", percent(linkedin.rates.acceptance_rate), "sent"]] : []),
    ["Replied", count(metrics.totals.replied)],
    ["Unsubscribed", count(metrics.totals.unsubscribed)],
    ["Complained", count(metrics.totals.complained)],
    ["Failed", count(metrics.totals.failed)],
  ];
  const tile = ([name, value, whole]) => h("div", { class: "tile" }, h("dt", {}, name),
    h("dd", {}, value, whole && h("small", {}, ` of ${whole}`)));
  return h("dl", { class: "tiles" }, shown.map(tile));
}

const statuses = (counted) => h("dl", { class: "facts" }, Object.entries(counted).filter(([, people]) => people > 0).map(([status, people]) =>
  h("div", {}, h("dt", {}, isEnded(status) && h("span", { class: `swatch status-${status}`, "aria-hidden": "true" }), status), h("dd", {}, count(people)))));

/** Step number -> {channel, title}, for the funnel. */
function stepsOf(template) {
  const steps = {};
  for (const step of template?.email_steps ?? []) steps[step.step_number] ??= { channel: "email", title: step.subject ?? "Re:" };
  for (const step of template?.linkedin_steps ?? []) steps[step.step_number] ??= { channel: "linkedin", title: step.type.replaceAll("_", " ") };
  return steps;
}

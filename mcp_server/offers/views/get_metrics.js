// The view of get_metrics: the totals as figures, and the chart of what they are grouped by.

import { cohorts, count, funnel, h, percent, variants, words } from "../web/charts.js";
import { button, run } from "./frame.js";

const GROUPS = { total: "Total", step: "Step", variant: "Variant", channel: "Channel", day: "Day" };
const CHANNELS = { email: "Email", linkedin: "LinkedIn" };

// Counter -> its rate, and what that is a share of.
const FIGURES = {
  sent: [],
  delivered: ["delivery_rate", "sent"],
  opened: ["open_rate", "delivered"],
  clicked: ["click_rate", "delivered"],
  replied: [],
  bounced: ["bounce_rate", "sent"],
  unsubscribed: ["unsubscribe_rate", "delivered"],
  complained: [],
  failed: [],
};

const funnels = (channels) => channels.map(({ key, totals }) =>
  funnel({ totals, channel: key, groups: [] }, { title: CHANNELS[key] ?? words(key) }));

const CHARTS = {
  total: (answer) => (answer.channels ? funnels(answer.channels) : funnel({ ...answer, groups: [] }, { title: "Funnel" })),
  step: (answer) => funnel(answer),
  variant: (answer) => variants(answer),
  channel: (answer) => funnels(answer.groups),
  day: (answer) => cohorts(answer),
};

const groupedBy = ({ group_by: group }) => (Object.hasOwn(GROUPS, group) ? group : "total");

/** The reply rate, of each channel where there are two: a rate over both would say nothing. LinkedIn reports no delivery. */
function replyRates({ totals, rates, channels }) {
  const one = (name, key, share, whole) => h("div", { "data-figure": key }, h("dt", {}, name),
    h("dd", {}, percent(share), h("span", { class: "v-rate" }, `of ${whole}`)));
  if (channels) {
    return channels.map(({ key, rates: own }) =>
      one(`Reply rate, ${CHANNELS[key] ?? words(key)}`, `reply_rate_${key}`, own.reply_rate, key === "linkedin" ? "sent" : "delivered"));
  }
  return one("Reply rate", "reply_rate", rates.reply_rate, rates.reply_rate !== null && !totals.delivered ? "sent" : "delivered");
}

/** The counts are of all steps; a rate is of one channel, so that where there are two the funnels below tell the shares. */
function figures(answer) {
  const { enrolled, totals, rates, channels } = answer;
  const one = (name, value, [rate, whole] = []) => h("div", { "data-figure": name }, h("dt", {}, words(name)),
    h("dd", {}, count(value), rate && !channels && h("span", { class: "v-rate" }, `${percent(rates[rate])} of ${whole}`)));
  const counted = Object.entries(FIGURES).map(([name, share]) => one(name, totals[name], share));
  return h("dl", { class: "v-figures" }, replyRates(answer), one("enrolled", enrolled), counted);
}

function range({ since, until }) {
  if (!since && !until) return null;
  return h("p", { class: "sa-note" }, `Steps sent${since ? ` since ${since}` : ""}${until ? ` until ${until}` : ""}.`);
}

run({
  draw: (answer, given) => [figures(answer), range(given), CHARTS[groupedBy(given)](answer)].flat().filter(Boolean),
  controls: (ask, given) => [
    h("div", { class: "v-choices", role: "group", "aria-label": "Grouped by" }, Object.entries(GROUPS).map(([name, text]) =>
      button(text, { "aria-pressed": String(name === groupedBy(given)) }, () => ask({ group_by: name })))),
    button("Refresh", {}, () => ask({})),
  ],
});

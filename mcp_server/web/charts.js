// Charts of get_metrics and explain_due. Pure: JSON in, a DOM node out; nothing is fetched, kept or read from the page.
// Everything that comes from outside becomes text nodes and attributes of fixed names, never markup.
//
//   funnel(metrics, {steps})       get_metrics with group_by step, or total
//   variants(metrics)              get_metrics with group_by variant
//   cohorts(metrics)               get_metrics with group_by day
//   explanation(explain, {now, isBrief})    explain_due
//
// Each answers an element of the class sa-chart; charts.css gives the colours as custom properties.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. attributes: name -> value, false and null are left out; children: nodes and texts. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element, of the same arguments. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const COUNT = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const OF_DAY = { day: "numeric", month: "short", timeZone: "UTC" };
const DAY = new Intl.DateTimeFormat("en-GB", OF_DAY);
const DAY_AND_YEAR = new Intl.DateTimeFormat("en-GB", { ...OF_DAY, year: "numeric" });
const OF_MOMENT = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
const MOMENT = new Intl.DateTimeFormat("en-GB", OF_MOMENT);
const MOMENT_OF_OTHER_YEARS = new Intl.DateTimeFormat("en-GB", { ...OF_MOMENT, year: "numeric" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const MS = { day: 86_400_000, hour: 3_600_000, minute: 60_000 };

/** 1234 -> "1,234". */
export const count = (value) => COUNT.format(value);

/** 0.1234 -> "12.3 %", null -> "–": there is nothing yet to divide by. Only what is all or nothing says 100 % or 0 %. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0 && share < 0.00005) return "<\u00a00.01\u00a0%";
  if (share > 0.9995 && share < 1) return ">\u00a099.9\u00a0%";
  const digits = share > 0 && share < 0.00995 ? 2 : 1;
  return `${(share * 100).toFixed(share === 0 || share === 1 ? 0 : digits)}\u00a0%`;
}

/** "2026-11-02T09:00:00Z" -> "Mon, 2 Nov, 09:00" on the reader's clock, with the year where it is not this one. */
export function moment(text) {
  const at = new Date(text);
  return (at.getFullYear() === new Date().getFullYear() ? MOMENT : MOMENT_OF_OTHER_YEARS).format(at);
}

/** "in 3 hours", "yesterday": how far a moment lies from now (milliseconds, as Date.now()). */
export function relative(text, now) {
  const distance = new Date(text).getTime() - now;
  const [unit, size] = Object.entries(MS).find(([, each]) => Math.abs(distance) >= each) ?? ["minute", MS.minute];
  return Math.abs(distance) < MS.minute ? "now" : RELATIVE.format(Math.round(distance / size), unit);
}

/** "step_delay" -> "Step delay". */
export function words(slug) {
  const text = String(slug).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function figure(kind, title, parts, rows) {
  return h("figure", { class: `sa-chart sa-${kind}` }, h("figcaption", {}, title), ...parts, rows && dataTable(title, rows));
}

/** rows: the head first; the first cell of each is what the others are about. */
function dataTable(title, [head, ...body]) {
  return h("details", { class: "sa-data" },
    h("summary", {}, "Show the numbers", h("span", { class: "sa-hidden" }, ` of ${title}`)),
    h("div", { class: "sa-scroll", tabindex: 0, role: "region", "aria-label": `Numbers: ${title}` },
      h("table", {},
        h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, body.map(([name, ...cells]) =>
          h("tr", {}, h("th", { scope: "row" }, name), cells.map((text) => h("td", {}, text))))))));
}

const nothing = (title, text) => figure("empty", title, [h("p", { class: "sa-nothing" }, text)], null);

// --- The funnel ---------------------------------------------------------------------------------------------------

const EMAIL = ["sent", "delivered", "opened", "clicked", "replied"];
const LINKEDIN = ["sent", "accepted", "replied"];
const LOSSES = ["bounced", "unsubscribed", "complained", "failed"];
const ROW = 36;

/**
 * Bars from sent to replied, a panel for each step; one panel for the whole where there are no groups.
 * steps: step number -> {channel, title}, where the caller knows the template.
 */
export function funnel(metrics, { title = "Funnel by step", steps = {} } = {}) {
  const groups = metrics.groups.length ? metrics.groups : [{ ...metrics, key: "all" }];
  const shown = groups.filter((group) => group.totals.sent > 0 || group.totals.failed > 0);
  if (!shown.length) return nothing(title, "Nothing was sent yet. The funnel fills as steps are sent and events come in.");
  const stages = [...new Set([...EMAIL, ...LINKEDIN])];
  const rows = [["Step", ...stages.map(words), ...LOSSES.map(words)]];
  for (const group of groups) {
    const name = stepName(group.key, steps);
    rows.push([name, ...[...stages, ...LOSSES].map((stage) => count(group.totals[stage]))]);
  }
  const panels = shown.map((group) => funnelPanel(group, steps));
  return figure("funnel", title, [h("div", { class: "sa-panels" }, panels)], rows);
}

function stepName(key, steps) {
  if (key === "all") return "All steps";
  if (key === "0") return "No step named";
  return steps[key]?.title ? `Step ${key}: ${steps[key].title}` : `Step ${key}`;
}

/** What a stage is a share of: the denominator of its rate. LinkedIn reports no delivery. */
const wholeOf = (stage, isLinkedIn) => (stage === "delivered" || isLinkedIn ? "sent" : "delivered");

function shareOf(stage, totals, isLinkedIn) {
  const whole = wholeOf(stage, isLinkedIn);
  return `${percent(totals[whole] > 0 ? totals[stage] / totals[whole] : null)} of ${whole}`;
}

function funnelPanel({ key, channel, totals }, steps) {
  const isLinkedIn = (steps[key]?.channel ?? channel ?? "email") === "linkedin";
  const stages = isLinkedIn ? LINKEDIN : EMAIL;
  const name = stepName(key, steps);
  const share = (stage) => (stage === "sent" ? "" : shareOf(stage, totals, isLinkedIn));
  const said = stages.map((stage) => `${stage} ${count(totals[stage])}${share(stage) && ` (${share(stage)})`}`);
  const losses = LOSSES.filter((loss) => totals[loss] > 0).map((loss) => `${count(totals[loss])} ${loss}`);
  return h("div", { class: "sa-panel" },
    h("p", { class: "sa-panel-title", title: name }, name),
    s("svg", { role: "img", "aria-label": `${name}: ${said.join(", ")}`, width: "100%", height: stages.length * ROW },
      stages.map((stage, index) => stageRow(stage, totals, share(stage), index * ROW))),
    h("p", { class: "sa-losses" }, losses.length ? losses.join(" · ") : "No bounces or unsubscribes"));
}

/** A bar as long as the steps sent that got so far, and what its share is of. */
function stageRow(stage, totals, said, top) {
  const value = totals[stage];
  const share = totals.sent > 0 ? Math.min(1, value / totals.sent) : 0;
  return s("g", { "data-stage": stage, "data-value": value },
    s("text", { x: 0, y: top + 12, class: "sa-label" }, words(stage)),
    s("text", { x: "100%", y: top + 12, class: "sa-value" },
      s("tspan", { class: "sa-strong" }, count(value)), said && `  ${said}`),
    s("rect", { x: 0, y: top + 18, width: "100%", height: 8, rx: 4, class: "sa-track" }),
    value > 0 && s("rect", { x: 0, y: top + 18, width: `${Math.max(1, share * 100)}%`, height: 8, rx: 4, class: `sa-${stage}` }));
}

// --- Variants -----------------------------------------------------------------------------------------------------

const COMPARED = ["reply_rate", "open_rate", "click_rate", "acceptance_rate", "delivery_rate", "bounce_rate", "unsubscribe_rate"];
const LOWER_IS_BETTER = new Set(["bounce_rate", "unsubscribe_rate"]);
const LANE = 48;

/** Each rate of each variant with the whiskers of its 95 % interval, and who leads where that is decided. */
export function variants(metrics, { title = "Variants, with 95 % intervals", rates = COMPARED } = {}) {
  const groups = metrics.groups.filter((group) => group.key !== "");
  const shown = rates.filter((rate) => groups.some((group) => group.rates[rate] > 0));
  if (!groups.length) return nothing(title, "This campaign has no variants. Give two steps of one number an a_b_variant each to compare them.");
  if (!shown.length) return nothing(title, "Nothing was delivered yet, so there is nothing to compare.");
  const rows = [["Rate", ...groups.flatMap((group) => [group.key, `${group.key}, low to high`]), "Leader"]];
  for (const rate of shown) {
    const cells = groups.flatMap((group) => [percent(group.rates[rate]), span(group.intervals?.[rate])]);
    rows.push([words(rate), ...cells, leaderOf(metrics, rate) ?? "undecided"]);
  }
  return figure("variants", title,
    [...verdict(metrics.comparison), h("div", { class: "sa-panels" }, shown.map((rate) => ratePanel(metrics, groups, rate)))], rows);
}

const leaderOf = (metrics, rate) => metrics.comparison?.differences[rate]?.leader ?? null;
const span = (interval) => (interval ? `${percent(interval[0])} to ${percent(interval[1])}` : "–");

function verdict(comparison) {
  if (!comparison) return [];
  const { counts, mismatch } = comparison.sample_ratio;
  const split = Object.entries(counts).map(([name, people]) => `${name}: ${count(people)}`).join(", ");
  return [
    h("p", { class: "sa-note" }, comparison.verdict.replaceAll("_", " ")),
    mismatch && h("p", { class: "sa-warning", role: "note" }, `Don't trust this comparison: the split (${split}) is more uneven than chance makes it.`),
    comparison.note && h("p", { class: "sa-note" }, comparison.note.replaceAll("_", " ")),
  ];
}

function ratePanel(metrics, groups, rate) {
  const highest = Math.max(...groups.map((group) => group.intervals?.[rate]?.[1] ?? group.rates[rate] ?? 0));
  const top = niceCeiling(Math.min(1, highest) * 100) / 100;
  const leader = leaderOf(metrics, rate);
  const said = groups.map((group) => `${group.key} ${percent(group.rates[rate])}, interval ${span(group.intervals?.[rate])}`);
  const verdict = leader === null ? "no leader" : `${leader} leads`;
  return h("div", { class: "sa-panel", "data-rate": rate },
    h("p", { class: "sa-panel-title" }, words(rate),
      h("span", { class: "sa-hint" }, LOWER_IS_BETTER.has(rate) ? "low is good" : "")),
    s("svg", { role: "img", "aria-label": `${words(rate)}: ${said.join("; ")}; ${verdict}`, width: "100%", height: groups.length * LANE + 18 },
      [0, 0.5, 1].map((part) => gridLine(part, groups.length * LANE, percent(top * part))),
      groups.map((group, index) => lane(group, rate, index, top, leader === group.key))));
}

function gridLine(part, bottom, text) {
  const x = `${part * 100}%`;
  const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
  return [
    s("line", { x1: x, x2: x, y1: 18, y2: bottom, class: "sa-grid" }),
    s("text", { x, y: bottom + 14, "text-anchor": anchor, class: "sa-axis" }, text),
  ];
}

function lane(group, rate, index, top, leads) {
  const y = index * LANE + 32;
  const share = group.rates[rate] ?? null;
  const at = (value) => `${Math.min(100, (value / top) * 100)}%`;
  const interval = group.intervals?.[rate];
  const value = share === null ? "no data" : percent(share);
  return s("g", { class: `sa-variant sa-variant-${index % 4}`, "data-variant": group.key, "data-value": share },
    s("text", { x: 0, y: y - 18, class: "sa-label" }, `Variant ${group.key}`, leads && s("tspan", { class: "sa-leader" }, "  ★ leads")),
    s("text", { x: "100%", y: y - 18, class: "sa-value" }, s("tspan", { class: "sa-strong" }, value)),
    interval && [
      s("line", { x1: at(interval[0]), x2: at(interval[1]), y1: y, y2: y, class: "sa-whisker" }),
      interval.map((end) => s("line", { x1: at(end), x2: at(end), y1: y - 5, y2: y + 5, class: "sa-whisker" })),
    ],
    share !== null && marker(index, at(share), y));
}

/** A shape for each variant, so that they are told apart without colour too. */
function marker(index, x, y) {
  if (index % 4 === 0) return s("circle", { cx: x, cy: y, r: 6, class: "sa-marker" });
  const path = ["", "M0-7 7 0 0 7-7 0Z", "M-5-5H5V5H-5Z", "M0-7 7 6H-7Z"][index % 4];
  return s("svg", { x, y, overflow: "visible", width: 1, height: 1 }, s("path", { d: path, class: "sa-marker" }));
}

// --- Cohort days --------------------------------------------------------------------------------------------------

const NESTED = ["sent", "opened", "replied"];
const WIDTHS = { sent: 0.78, opened: 0.5, replied: 0.22 };
const PLOT = { top: 10, height: 190, axis: 22 };
const MOST_DAYS = 92;
const MOST_WEEKS = 184;

/** What became of the steps sent on each day: a column for sent, in it a slimmer one for opened, and one for replied. */
export function cohorts(metrics, { title = "By day of sending" } = {}) {
  if (!metrics.groups.length) return nothing(title, "Nothing was sent yet. Each day on which something is sent becomes a column.");
  const { columns, unit } = bins(metrics.groups);
  const top = niceCeiling(Math.max(...columns.map((column) => column.totals.sent), 1));
  const dayName = namesOf(columns);
  const total = Object.fromEntries(NESTED.map((stage) => [stage, columns.reduce((sum, column) => sum + column.totals[stage], 0)]));
  const label = `${title}, ${columns.length} ${unit}s from ${dayName(columns[0].key)} to ${dayName(columns.at(-1).key)}: `
    + NESTED.map((stage) => `${count(total[stage])} ${stage}`).join(", ");
  const rows = [[{ day: "Day", week: "Week of" }[unit] ?? "From", ...EMAIL.map(words), ...LOSSES.map(words)]];
  for (const { key, totals } of columns) rows.push([key, ...[...EMAIL, ...LOSSES].map((stage) => count(totals[stage]))]);
  const height = PLOT.top + PLOT.height + PLOT.axis;
  const scale = s("svg", { "aria-hidden": "true", width: 34, height }, [0.5, 1].map((part) => levelName(part, top)));
  const plot = s("svg", { role: "img", "aria-label": label, width: "100%", height },
    [0, 0.5, 1].map(level),
    columns.map((column, index) => cohort(column, index, columns.length, top, dayName)),
    dayLabels(columns, dayName));
  return figure("cohorts", unit === "day" ? title : `${title}, by ${unit}`, [legend(), h("div", { class: "sa-plot" }, scale, plot)], rows);
}

/** One column for each day, also for those without a step sent; for each week, or some weeks, where they are too many. */
function bins(groups) {
  const days = new Map(groups.map((group) => [group.key, group.totals]));
  const first = Date.parse(groups[0].key), last = Date.parse(groups.at(-1).key);
  const distance = (last - first) / MS.day, weeks = Math.ceil((distance + 7) / 7 / MOST_WEEKS);
  const size = distance < MOST_DAYS ? 1 : 7 * weeks;
  const start = size === 1 ? first : first - ((new Date(first).getUTCDay() + 6) % 7) * MS.day;
  const columns = [];
  for (let at = start; at <= last; at += size * MS.day) {
    const within = Array.from({ length: size }, (_, index) => days.get(isoDay(at + index * MS.day)) ?? {});
    const sum = (name) => within.reduce((total, each) => total + (each[name] ?? 0), 0);
    columns.push({ key: isoDay(at), totals: Object.fromEntries([...EMAIL, ...LOSSES].map((name) => [name, sum(name)])) });
  }
  return { columns, unit: size === 1 ? "day" : weeks === 1 ? "week" : `${weeks}-week period` };
}

const isoDay = (time) => new Date(time).toISOString().slice(0, 10);
/** What days are called: with their year where there are several. */
const namesOf = (columns) => {
  const format = columns[0].key.slice(0, 4) === columns.at(-1).key.slice(0, 4) ? DAY : DAY_AND_YEAR;
  return (day) => format.format(new Date(`${day}T00:00:00Z`));
};

function legend() {
  return h("ul", { class: "sa-legend" }, NESTED.map((stage) => h("li", {},
    s("svg", { width: 14, height: 14, "aria-hidden": "true" },
      s("rect", { x: 7 - WIDTHS[stage] * 7, y: 0, width: WIDTHS[stage] * 14, height: 14, rx: 2, class: `sa-${stage}` })),
    words(stage))));
}

const levelAt = (part) => PLOT.top + PLOT.height * (1 - part);

function level(part) {
  return s("line", { x1: 0, x2: "100%", y1: levelAt(part), y2: levelAt(part), class: part === 0 ? "sa-base" : "sa-grid" });
}

function levelName(part, top) {
  if (!Number.isInteger(top * part)) return null;
  return s("text", { x: 26, y: levelAt(part) + 4, "text-anchor": "end", class: "sa-axis" }, COMPACT.format(top * part));
}

function cohort({ key, totals }, index, columns, top, dayName) {
  const slot = 100 / columns;
  const said = EMAIL.map((stage) => `${words(stage)} ${count(totals[stage])}`).join("\n");
  return s("g", { "data-day": key, "data-sent": totals.sent },
    s("title", {}, `${dayName(key)}\n${said}`),
    s("rect", { x: `${index * slot}%`, y: PLOT.top, width: `${slot}%`, height: PLOT.height, class: "sa-hover" }),
    NESTED.filter((stage) => totals[stage] > 0).map((stage) => {
      const width = Math.min(slot * WIDTHS[stage], 5 * WIDTHS[stage]);
      const height = Math.max(2, (totals[stage] / top) * PLOT.height);
      return s("rect", {
        x: `${(index + 0.5) * slot - width / 2}%`, y: PLOT.top + PLOT.height - height, width: `${width}%`, height, class: `sa-${stage}`,
      });
    }));
}

function dayLabels(columns, dayName) {
  const wanted = Math.min(columns.length, 4);
  const picked = new Set(Array.from({ length: wanted }, (_, each) => Math.round((each * (columns.length - 1)) / Math.max(1, wanted - 1))));
  return [...picked].map((index) => {
    const anchor = columns.length === 1 ? "middle" : index === 0 ? "start" : index === columns.length - 1 ? "end" : "middle";
    const x = anchor === "start" ? 0 : anchor === "end" ? 100 : ((index + 0.5) * 100) / columns.length;
    return s("text", { x: `${x}%`, y: PLOT.top + PLOT.height + 16, "text-anchor": anchor, class: "sa-axis" }, dayName(columns[index].key));
  });
}

/** The next of 1, 2, 3, 4, 5, 6, 8, 10, 20, ... that is not below value. */
function niceCeiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((each) => each >= value - 1e-9);
}

// --- What holds it back -------------------------------------------------------------------------------------------

/** Whether a step can be handed out now; what holds it back, and until when, or that it takes a person. */
export function explanation(explain, { now = Date.now(), title = "What happens next", isBrief = false } = {}) {
  const state = stateOf(explain);
  // Where all is over, whether a window is open matters no more.
  const holds = explain.holds.filter((hold) => state !== "over" || OVER.has(hold.reason));
  const isSaid = isBrief && explain.holds.some((hold) => hold.until === explain.next_at);
  // Many of the brief ones stand in one table, where each would be a landmark.
  return h(isBrief ? "div" : "section", { class: `sa-chart sa-explain sa-explain-${state}`, "aria-label": isBrief ? null : title },
    h("p", { class: "sa-state" },
      s("svg", { width: 12, height: 12, "aria-hidden": "true" }, stateShape(state)),
      h("strong", {}, { due: "Due now", waits: "Waiting", held: "Needs a person", over: "Nothing to do" }[state]),
      explain.step_number && h("span", {}, ` · step ${explain.step_number}${explain.channel ? `, ${explain.channel}` : ""}`),
      explain.next_at && !explain.due && !isSaid && h("span", {}, "Next: ", when(explain.next_at, now))),
    holds.length > 0 && h("ul", { class: "sa-holds" }, holds.map((hold) => holdLine(hold, now, state))),
    explain.due && !isBrief && h("p", { class: "sa-note" }, "claim_due_actions hands it out to the next agent that asks."));
}

const OVER = new Set(["nobody_waits", "campaign_ended", "enrollment_ended", "no_step_left"]);

function stateOf({ due, next_at, holds }) {
  if (due) return "due";
  if (holds.some((hold) => OVER.has(hold.reason))) return "over";
  return next_at ? "waits" : "held";
}

function stateShape(state) {
  if (state === "due") return s("circle", { cx: 6, cy: 6, r: 5.5, class: "sa-dot" });
  if (state === "waits") return s("path", { d: "M6 .5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Zm0 2v3.5l2.4 1.4", class: "sa-ring" });
  if (state === "over") return s("path", { d: "M1 6h10", class: "sa-ring" });
  return s("path", { d: "M6 .7 11.6 11H.4Z", class: "sa-dot" });
}

function holdLine(hold, now, state) {
  return h("li", { "data-reason": hold.reason },
    h("span", { class: "sa-reason" }, words(hold.reason)),
    h("span", { class: "sa-detail" }, hold.detail),
    state !== "over" && h("span", { class: "sa-until" }, hold.until ? ["until ", when(hold.until, now)] : "until somebody acts"));
}

/** A moment with how far it lies. */
export function when(text, now = Date.now()) {
  return h("time", { datetime: text, title: text }, `${moment(text)} (${relative(text, now)})`);
}

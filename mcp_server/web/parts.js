// The pieces that pages are made of.

import { count, h, moment, percent, relative, s, when, words } from "/dashboard/static/charts.js";
import { askWhoIsThere, get } from "/dashboard/static/api.js";

/** Text that somebody else wrote: it stands apart from the text around it, whatever its direction and length. */
export function given(text, { href = null, fallback = "without a name" } = {}) {
  const shown = text === null || text === undefined || String(text).trim() === "" ? fallback : String(text);
  const inner = h("bdi", { class: "given", title: shown.length > 40 ? shown.slice(0, 300) : null }, shown.slice(0, 500));
  return href === null ? inner : h("a", { href, class: "given-link" }, inner);
}

const TONES = {
  active: "good", completed: "plain", draft: "plain", paused: "warn", failed: "bad", enrolled: "plain",
  unsubscribed: "bad", bounced: "bad", processing: "accent", pending: "plain", cancelled: "plain", waiting: "warn",
  expired: "plain", ok: "good", degraded: "bad", replied: "good", complained: "bad", clicked: "accent", opened: "accent",
  message_replied: "good", connection_accepted: "good", rejected: "bad",
  needs_answer: "accent", answered: "good", human: "good", absence: "warn", has_left: "warn", unsubscribe: "bad",
  bounce: "bad", complaint: "bad", hidden_text: "bad", instructions_to_an_agent: "bad", forged_quote: "bad",
};

/** A state or a kind of event, in words and with a tone. */
export const badge = (value) => h("span", { class: `badge tone-${TONES[value] ?? "plain"}` }, words(value));

export const card = (title, ...children) =>
  h("section", { class: "card" }, title && h("h2", {}, title), ...children);

/** What to do where there is nothing yet. */
export function empty(title, text, code = null) {
  return h("div", { class: "empty" },
    s("svg", { width: 40, height: 40, viewBox: "0 0 40 40", "aria-hidden": "true" },
      s("rect", { x: 3, y: 9, width: 34, height: 6, rx: 3 }), s("rect", { x: 3, y: 19, width: 22, height: 6, rx: 3 }),
      s("rect", { x: 3, y: 29, width: 12, height: 6, rx: 3 })),
    h("p", { class: "empty-title" }, title), h("p", {}, text), code && h("pre", {}, h("code", {}, code)));
}

/** What went wrong, and a way to try again. */
export function trouble(problem, again = null) {
  const button = again && h("button", { type: "button", class: "button" }, "Try again");
  button?.addEventListener("click", again);
  return h("div", { class: "trouble", role: "alert" }, h("p", {}, problem.message), button);
}

/**
 * Draws into a box again and again: draw() answers a node. Of two that overlap, the later one stands; what goes wrong is
 * shown in the box.
 */
export function redrawn(box, draw) {
  let turn = 0;
  return async function again() {
    const mine = turn += 1;
    const node = await draw().catch((problem) => {
      askWhoIsThere(problem);
      return trouble(problem, again);
    });
    if (mine === turn) box.replaceChildren(node);
  };
}

export const loading = () => h("p", { class: "loading", "aria-hidden": "true" }, "Loading …");

/** A table that becomes a list on narrow screens. columns: {name, cell(row), kind}; kind "number" is set to the right. */
export function table(label, columns, rows) {
  const body = h("tbody", { role: "rowgroup" });
  const element = h("table", { class: "rows", role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(({ name, kind }) =>
      h("th", { role: "columnheader", scope: "col", class: kind ?? "" }, name)))),
    body);
  const add = (more) => body.append(...more.map((row) => h("tr", { role: "row" }, columns.map(({ name, cell, kind }) =>
    h("td", { role: "cell", class: kind ?? "", "data-name": name }, h("div", { class: "cell" }, cell(row)))))));
  add(rows);
  return { element, add };
}

/**
 * A list that is read page by page. read(cursor) answers {rows, next}; draw(rows) answers {element, add(rows)}.
 * Reads the first page, and puts a button under it while there are more.
 */
export async function paged({ read, draw, none, announce, name }) {
  const box = h("div", { class: "paged" });
  const first = await read(null);
  if (!first.rows.length) {
    box.append(none());
    return box;
  }
  const list = draw(first.rows);
  let next = first.next;
  const more = further(`Show more ${name}`, async () => {
    const page = await read(next);
    list.add(page.rows);
    next = page.next;
    announce(`${page.rows.length} more ${name}`);
    return Boolean(next);
  }, list.element);
  more.hidden = !next;
  box.append(list.element, more);
  return box;
}

/**
 * A button that reads on, and says under it what goes wrong. read() answers whether there is still more; where there is
 * none, the button goes, and the focus that it had to what was added to.
 */
export function further(text, read, added) {
  const fault = h("div", {});
  const button = h("button", { type: "button", class: "button" }, text);
  const box = h("div", { class: "more" }, button, fault);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");  // and not disabled: that would lose the focus
    try {
      const isMore = await read();
      if (!isMore && document.activeElement === button) {
        added.tabIndex = -1;
        added.focus();
      }
      box.hidden = !isMore;
      fault.replaceChildren();
    } catch (problem) {
      askWhoIsThere(problem);
      fault.replaceChildren(trouble(problem));
    }
    button.removeAttribute("aria-disabled");
  });
  return box;
}

/** Reads a tool's list for `paged`: the rows stand under `field`. */
export const pages = (endpoint, field, args, signal) => async (cursor) => {
  const answer = await get(endpoint, { limit: 25, ...args, cursor }, signal);
  return { rows: answer[field], next: answer.next_cursor ?? null };
};

/** A labelled select. options: value -> text. */
export function choice(label, options, value, change) {
  const select = h("select", {}, Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  select.addEventListener("change", () => change(select.value));
  return h("label", { class: "field" }, h("span", {}, label), select);
}

/** A labelled search that fires when typing pauses. */
export function search(label, change) {
  const input = h("input", { type: "search", autocomplete: "off", spellcheck: "false", maxlength: 200 });
  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => change(input.value.trim()), 250);
  });
  return h("label", { class: "field" }, h("span", {}, label), input);
}

const ORDER = ["completed", "active", "enrolled", "paused", "unsubscribed", "bounced"];

/** Whether a person in this state gets no further step. */
export const isEnded = (status) => !["active", "enrolled", "paused"].includes(status);

/** How far a campaign is, as a bar that fills with those who have reached their end, and its text. */
export function progress(statuses) {
  const present = ORDER.filter((status) => statuses[status] > 0);
  const total = present.reduce((sum, status) => sum + statuses[status], 0);
  if (!total) return h("span", { class: "muted" }, "nobody enrolled");
  const ended = present.filter(isEnded);
  let at = 0;
  const parts = ended.map((status) => {
    const width = (statuses[status] / total) * 100;
    at += width;
    return s("rect", { x: `${at - width}%`, y: 0, width: `${width}%`, height: 8, class: `status-${status}` },
      s("title", {}, `${words(status)}: ${count(statuses[status])}`));
  });
  const label = present.map((status) => `${count(statuses[status])} ${status}`).join(", ");
  const done = ended.reduce((sum, status) => sum + statuses[status], 0);
  return h("div", { class: "progress" },
    s("svg", { width: "100%", height: 8, role: "img", "aria-label": label }, parts),
    h("span", { class: "muted" }, `${count(done)} of ${count(total)} done`));
}

/** The head of a page. Its h1 takes the focus when the page is opened. */
export function heading(title, ...more) {
  return h("div", { class: "heading" }, h("h1", { tabindex: -1 }, title), more);
}

export const person = (row, href) => h("span", { class: "person" }, given(row.name ?? row.address, { href }),
  row.name && row.address ? h("span", { class: "muted" }, given(row.address)) : null);

export { count, h, moment, percent, relative, s, when, words };

// The queue of jobs.

import { badge, choice, count, empty, given, h, heading, paged, pages, percent, redrawn, table, when, words } from "/dashboard/static/parts.js";

const STATES = ["pending", "processing", "completed", "failed", "cancelled"];

export async function show(root, { signal, announce, title }) {
  title("Jobs");
  let status = "";
  const draw = () => jobs(status, signal, announce);
  const list = h("div", {}, await draw());
  const refresh = redrawn(list, draw);
  const states = { "": "All states", ...Object.fromEntries(STATES.map((each) => [each, words(each)])) };
  const byState = choice("State", states, "", (value) => { status = value; refresh(); });
  root.replaceChildren(heading("Jobs"), h("div", { class: "tools" }, byState), h("section", { class: "card" }, list));
}

const jobs = (status, signal, announce) => paged({
  name: "jobs",
  announce,
  read: pages("jobs", "jobs", { status }, signal),
  draw: (rows) => table("Jobs", [
    { name: "Job", cell: (row) => h("div", { class: "stack" }, row.id, h("span", { class: "muted" }, words(row.type))) },
    { name: "State", cell: (row) => badge(row.status) },
    { name: "Progress", kind: "wide", cell: done },
    { name: "Attempts", kind: "number", cell: (row) => count(row.attempts) },
    { name: "When", kind: "moment", cell: moments },
  ], rows),
  none: () => empty("No job here", "Imports and the work of agent loops are queued here by create_job.", "sales-automation-mcp import contacts.csv --campaign ID"),
});

/** What a row tells of time: when it ended, when it is due, or else when it was made. */
function moments(row) {
  const [word, at] = [["ended", row.finished_at], ["due", row.run_at], ["created", row.created_at]].find(([, each]) => each);
  return h("span", {}, `${word} `, when(at));
}

/** How far a job is, where it says so as {rows_done, rows_total}, {done, total} or {percent}; whatever else, as text. */
function done(row) {
  if (row.error) return given(row.error);
  const { part, whole } = row.status === "completed" ? { part: 1, whole: 1 } : measure(row.progress);
  if (!Number.isFinite(part) || !(whole > 0)) {
    return row.progress ? h("code", { class: "given" }, JSON.stringify(row.progress).slice(0, 200)) : h("span", { class: "muted" }, "–");
  }
  const said = whole > 1 && whole !== 100 ? `${count(part)} of ${count(whole)}` : percent(part / whole);
  return h("div", { class: "progress" },
    h("progress", { max: whole, value: Math.min(part, whole), "aria-label": `Progress of ${row.id}` }), h("span", { class: "muted" }, said));
}

function measure(progress) {
  if (progress === null || typeof progress !== "object") return {};
  if ("percent" in progress) return { part: progress.percent, whole: 100 };
  return { part: progress.rows_done ?? progress.done, whole: progress.rows_total ?? progress.total };
}

// What waits for a person: each draft whole, and what to say to it, by keys or by buttons.

import { askWhoIsThere, decide, get } from "/dashboard/static/api.js";
import { empty, given, h, heading, trouble, when, words } from "/dashboard/static/parts.js";

const MOST = 100;

export async function show(root, { signal, announce, title }) {
  title("Approvals");
  const viewer = await get("viewer", {}, signal);
  const mayDecide = viewer.scopes.includes("approve");
  const queue = h("ol", { class: "queue", "aria-label": "Drafts that wait" });
  const box = h("div", {}, queue);
  const cards = () => [...queue.children];
  const focused = () => cards().find((item) => item === document.activeElement || item.contains(document.activeElement));

  async function fill() {
    const { drafts, has_more: more } = await get("drafts", { limit: MOST }, signal);
    queue.replaceChildren(...drafts.map((draft) => card(draft, mayDecide, settle)));
    box.replaceChildren(...(drafts.length
      ? [queue, more ? h("p", { class: "muted" }, `Later ones follow once these ${MOST} are decided.`) : ""]
      : [empty("Nothing waits", "Texts stand here when a campaign asks for an approval, two days before they are due.")]));
  }

  /** Takes a draft that is decided out of the queue, and goes on to the next. */
  async function settle(item, text) {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    announce(text);
    if (next) next.focus();
    else await fill().catch((problem) => { askWhoIsThere(problem); box.replaceChildren(trouble(problem, fill)); });
  }

  function step(by) {
    const all = cards();
    const at = all.indexOf(focused());
    all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]?.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const moves = { j: () => step(1), k: () => step(-1) };
    const decisions = { a: () => focused()?.querySelector(".approve")?.click(), r: () => focused()?.querySelector(".reject")?.click() };
    const does = moves[event.key] ?? (mayDecide ? decisions[event.key] : null);
    if (!does) return;
    event.preventDefault();
    does();
  }, { signal });

  await fill();
  root.replaceChildren(heading("Approvals"),
    h("p", { class: "lead" }, "Nothing here goes out before a person approves it, as it stands. ",
      h("kbd", {}, "j"), " next, ", h("kbd", {}, "k"), " back, ", h("kbd", {}, "a"), " approve, ", h("kbd", {}, "r"), " reject."),
    mayDecide ? "" : h("p", { role: "note" }, "You may look, and not decide: sign in by a link of ", h("code", {}, "sales-automation-mcp dashboard"), "."),
    box);
}

function card(draft, mayDecide, settle) {
  const { contact } = draft;
  const whom = contact.name ?? contact.email ?? contact.linkedin_url ?? "a person";
  const fault = h("div", { "aria-live": "polite" });
  const said = h("div", { class: "decide" });
  const item = h("li", { class: "card mail", tabindex: 0, "data-id": draft.id, "aria-label": `Draft to ${whom}` },
    h("div", { class: "mail-head" }, h("strong", {}, given(whom)),
      h("span", {}, draft.step_number ? `Step ${draft.step_number}, ${draft.channel === "email" ? "email" : "LinkedIn"}` : "Reply"), h("span", { class: "muted" }, when(draft.created_at))),
    h("dl", { class: "mail-facts" },
      fact("To", given(draft.channel === "email" ? contact.email : contact.linkedin_url ?? whom)),
      fact("Cc", draft.cc && given(draft.cc.join(", "))),
      fact("From", draft.mailbox && given(draft.mailbox)),
      fact("Subject", draft.subject && given(draft.subject)),
      fact("Words", draft.source === "written" ? "Written for this person" : "The template's")),
    h("pre", { class: "mail-text", dir: "auto" }, draft.signature ? `${draft.body}\n\n${draft.signature}` : draft.body),
    draft.lint.length ? h("ul", { class: "lint", "aria-label": "What to look at" }, draft.lint.map((warning) => h("li", {}, warning))) : "",
    h("p", {}, h("a", { href: `#/enrollments/${draft.enrollment_id}` }, "To the enrollment")),
    said, fault);
  if (!mayDecide) return item;

  /** Has it decided, once: while that is under way nothing else is. */
  async function take(work, text) {
    if (item.getAttribute("aria-busy") === "true") return;
    item.setAttribute("aria-busy", "true");
    fault.replaceChildren();
    try {
      const refused = await work();
      if (refused) fault.replaceChildren(h("p", { class: "bad" }, refused));
      else await settle(item, text);
    } catch (problem) {
      askWhoIsThere(problem);
      fault.replaceChildren(trouble(problem));
    }
    item.removeAttribute("aria-busy");
  }

  const approve = button("Approve", "button approve", () => take(async () => {
    const { results: [result] } = await decide("approve", { drafts: [{ draft_id: draft.id, fingerprint: draft.fingerprint }] });
    return result.status === "refused" ? `Not approved. ${result.reason}` : null;
  }, `Approved: ${whom}`));
  const reject = button("Reject", "button quiet reject", () => { said.replaceChildren(...form); reason.focus(); });
  const reason = h("textarea", { rows: 2, maxlength: 1000, required: true });
  const then = h("select", {}, h("option", { value: "pause" }, "Pause the enrollment"), h("option", { value: "skip" }, "Skip the step"));
  const close = () => { said.replaceChildren(approve, reject); item.focus(); };
  const form = [
    h("label", { class: "field" }, h("span", {}, "What is wrong with it"), reason),
    h("label", { class: "field" }, h("span", {}, "Then"), then),
    button("Reject it", "button", () => (reason.value.trim() === "" ? reason.focus() : take(async () => {
      await decide("reject", { draft_id: draft.id, reason: reason.value.trim(), then: then.value });
      return null;
    }, `Rejected: ${whom}`))),
    button("Keep it", "button quiet", close),
  ];
  item.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && said.contains(reason)) { event.preventDefault(); close(); }
  });
  said.replaceChildren(approve, reject);
  return item;
}

function button(text, kind, act) {
  const made = h("button", { type: "button", class: kind }, text);
  made.addEventListener("click", act);
  return made;
}

const fact = (name, value) => (value ? h("div", {}, h("dt", {}, words(name)), h("dd", {}, value)) : "");

// One conversation: each mail, what it is and why. What stands in a mail is text, never markup, and no link.

import { askWhoIsThere, decide, get } from "/dashboard/static/api.js";
import { badge, empty, given, h, heading, trouble, when, words } from "/dashboard/static/parts.js";

export async function show(root, { id, signal, title, announce }) {
  const [{ thread, messages }, viewer] = await Promise.all([get("thread", { thread_id: id, detail: "full" }, signal), get("viewer", {}, signal)]);
  const settled = async (text) => {
    await show(root, { id, signal, title, announce });
    announce(text);
    root.querySelector("h1").focus();
  };
  const settle = viewer.scopes.includes("approve") ? settled : null;
  const { contact } = thread;
  const name = contact.name ?? contact.email ?? contact.linkedin_url ?? "A person";
  title(name);
  const hidden = thread.messages - messages.length;
  root.replaceChildren(
    heading(given(name), badge(thread.state),
      h("span", { class: "muted" }, [contact.name && contact.email, thread.subject].filter(Boolean).map((text, index) => [index ? " · " : "", given(text)]))),
    h("p", { class: "lead" }, "Mails are shown as text: nothing in them is a link, and nothing is loaded for them."),
    h("p", {}, h("a", { href: "#/inbox" }, "To the inbox"), " · ", h("a", { href: `#/enrollments/${thread.enrollment_id}` }, "To the enrollment")),
    hidden > 0 ? h("p", { class: "muted" }, `${hidden} earlier messages are not shown.`) : "",
    messages.length ? h("ol", { class: "thread", "aria-label": "Messages" }, messages.map((message) => mail(message, settle))) : empty("No message", "What was sent is shown here."));
}

/** settled: draws the thread again once a person has said whether a mail went out; null for who may not say it. */
function mail(message, settled) {
  const isIn = message.direction === "in";
  const sender = [message.from_name, message.from].filter(Boolean);
  return h("li", { class: `card mail mail-${message.direction}`, "data-id": message.id },
    h("div", { class: "mail-head" },
      h("strong", {}, isIn ? "Came in" : words(message.status ?? "sent")),
      message.kind ? badge(message.kind) : "",
      message.findings.map((finding) => badge(finding)),
      h("span", { class: "muted" }, when(message.date))),
    h("dl", { class: "mail-facts" },
      fact("From", sender.map((text, index) => [index ? ", " : "", given(text)])),
      fact("Subject", message.subject && given(message.subject)),
      fact("Why", message.rule && [words(message.rule), message.evidence ? [": ", given(message.evidence)] : ""]),
      fact("Came back", message.bounce && words(message.bounce)),
      fact("Back on", message.return_on),
      fact("Delivery", message.status === "unknown" && "Nobody knows whether it went out. It is not sent again by itself: look for it in the mailbox, and say here what you found."),
      fact("Interest", message.interest && words(message.interest)),
      fact("Unsure", message.is_guess && "Matched by the address of its sender alone. It stops nothing until it is sorted."),
      fact("Sorted", message.is_sorted && "By hand: no rule changes it."),
      fact("Attachments", message.attachments?.map((file, index) => [index ? ", " : "", given(file)]))),
    message.text ? h("pre", { class: "mail-text", dir: "auto" }, message.text) : h("p", { class: "muted" }, "No words are kept."),
    message.whole_text ? h("details", { class: "sa-data" }, h("summary", {}, "With quotes and signature"), h("pre", { class: "mail-text", dir: "auto" }, message.whole_text)) : "",
    message.is_cut ? h("p", { class: "muted" }, "Cut: the mail says more.") : "",
    settled && ["unknown", "queued"].includes(message.status) ? settling(message, settled) : "");
}

/** Buttons by which a person says whether a mail went out, or withdraws a reply that has not. */
function settling(message, settled) {
  const fault = h("div", { "aria-live": "polite" });
  const box = h("div", { class: "decide" });
  const button = (text, kind, outcome) => {
    const made = h("button", { type: "button", class: kind }, text);
    made.addEventListener("click", async () => {
      if (box.getAttribute("aria-busy") === "true") return;
      box.setAttribute("aria-busy", "true");
      fault.replaceChildren();
      try {
        await decide("settle", { message_id: message.id, outcome });
        await settled(`Settled: ${words(outcome)}`);
      } catch (problem) {
        askWhoIsThere(problem);
        fault.replaceChildren(trouble(problem));
      }
      box.removeAttribute("aria-busy");
    });
    return made;
  };
  box.replaceChildren(...(message.status === "queued"
    ? [button("Withdraw this reply", "button quiet", "not_sent")]
    : [button("It was sent", "button", "sent"), button("It was not sent", "button quiet", "not_sent")]));
  return [box, fault];
}

const fact = (name, value) => (value && (!Array.isArray(value) || value.length) ? h("div", {}, h("dt", {}, name), h("dd", {}, value)) : "");

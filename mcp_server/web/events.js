// What happens, as it happens.

import { get, watch } from "/dashboard/static/api.js";
import { badge, choice, empty, given, h, heading, moment, person, words } from "/dashboard/static/parts.js";

const TYPES = [
  "sent", "delivered", "deferred", "opened", "clicked", "replied", "auto_replied", "bounced", "rejected", "complained",
  "unsubscribed", "failed", "profile_visited", "connection_sent", "connection_accepted", "connection_rejected",
  "message_sent", "message_replied", "voice_message_sent", "machine_opened", "machine_clicked",
];
const MOST_SHOWN = 500;
const PAGE = 50;
const BESIDE_OTHERS = 12;

export async function show(root, { signal, announce, title }) {
  title("Events");
  root.replaceChildren(heading("Events"), h("section", { class: "card" }, await feed({}, signal, announce)));
}

/** The latest events of one campaign ({campaign_id}), or of all of them ({}), with those to come. */
export async function feed(of, signal, announce) {
  const size = of.campaign_id ? BESIDE_OTHERS : PAGE;
  const list = h("ol", { class: "feed", "aria-label": "Events, the newest first" });
  const none = empty("Nothing has happened yet", "Events show up here as they are recorded: by complete_action, record_event, or a provider's webhook.");
  const older = h("button", { type: "button", class: "button more" }, "Show older events");
  const light = h("span", { class: "light", role: "status" }, "Connecting …");
  const pause = h("button", { type: "button", class: "button", "aria-pressed": "false" }, "Pause");
  const shown = new Map();
  let held = [], isPaused = false, type = "";

  const draw = (event, isNew) => {
    if (shown.has(event.id) || (of.campaign_id && event.campaign_id !== of.campaign_id)) return;
    const line = eventLine(event, !of.campaign_id);
    line.hidden = type !== "" && event.event_type !== type;
    if (isNew) line.classList.add("new");
    const after = [...list.children].find((each) => each.dataset.id < event.id);
    list.insertBefore(line, after ?? null);
    shown.set(event.id, line);
    none.hidden = true;
  };
  const trim = () => {
    while (list.children.length > MOST_SHOWN) {
      shown.delete(list.lastElementChild.dataset.id);
      list.lastElementChild.remove();
    }
  };
  const read = async (before) => {
    const { events } = await get("latest", { ...of, limit: size, before }, signal);
    for (const event of events) draw(event, false);
    older.hidden = events.length < size || list.children.length >= MOST_SHOWN;
  };
  const release = () => {
    for (const event of held) draw(event, true);
    held = [];
    trim();
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (!isPaused) release();
  });
  older.addEventListener("click", () => read(list.lastElementChild?.dataset.id).then(() => announce("Older events are shown"), (problem) => announce(problem.message)));
  const byType = choice("Kind", { "": "All kinds", ...Object.fromEntries(TYPES.map((each) => [each, words(each)])) }, "", (value) => {
    type = value;
    for (const line of list.children) line.hidden = type !== "" && line.dataset.type !== type;
  });
  await read(null);
  none.hidden = shown.size > 0;
  watch({
    signal,
    take: (event) => {
      held.push(event);
      if (isPaused) pause.textContent = `Resume (${held.length})`;
      else release();
      if (held.length > MOST_SHOWN) held.shift();
    },
    state: (state) => {
      light.className = `light ${state}`;
      light.textContent = state === "live" ? "Live" : "Connection lost, trying again …";
    },
    ready: () => read(null).catch(() => null),
  });
  return h("div", {}, h("div", { class: "tools" }, light, pause, byType), none, list, older);
}

function eventLine(event, withCampaign) {
  return h("li", { "data-id": event.id, "data-type": event.event_type },
    badge(event.event_type),
    h("span", { class: "feed-who" }, person(event, `#/enrollments/${event.enrollment_id}`)),
    h("span", { class: "muted feed-where" },
      withCampaign && given(event.campaign_name, { href: `#/campaigns/${event.campaign_id}` }),
      event.step_number && h("span", {}, `step ${event.step_number}, ${event.channel}`)),
    h("time", { class: "muted", datetime: event.occurred_at }, moment(event.occurred_at)));
}

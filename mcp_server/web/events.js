// What happens, as it happens.

import { get, watch } from "/dashboard/static/api.js";
import { badge, choice, empty, further, given, h, heading, moment, person, words } from "/dashboard/static/parts.js";

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
  const light = h("span", { class: "light", role: "status" }, "Connecting …");
  const pause = h("button", { type: "button", class: "button", "aria-pressed": "false" }, "Pause");
  const shown = new Map();
  let held = [], isPaused = false, isBehind = false, type = "";

  const draw = (event, isNew) => {
    if (shown.has(event.id)) return;
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
  const older = further("Show older events", async () => {
    await read(list.lastElementChild?.dataset.id);
    announce("Older events are shown");
    return !older.hidden;
  }, list);
  const read = async (before) => {
    const { events } = await get("latest", { ...of, limit: size, before }, signal);
    for (const event of events) draw(event, false);
    older.hidden = events.length < size || list.children.length >= MOST_SHOWN;
    return events;
  };
  /** Read the latest. Where more is new than a page holds, what stood there before is no longer next to it, and goes. */
  const catchUp = async () => {
    const newest = list.firstElementChild?.dataset.id ?? "";
    const events = await read(null);
    if (events.length < size || events.at(-1).id <= newest) return;
    for (const line of [...list.children].filter((each) => each.dataset.id <= newest)) {
      shown.delete(line.dataset.id);
      line.remove();
    }
  };
  const release = () => {
    if (isBehind) catchUp().catch(() => null);
    for (const event of held) draw(event, true);
    held = [];
    isBehind = false;
    trim();
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    if (!isPaused) release();
  });
  const byType = choice("Kind", { "": "All kinds", ...Object.fromEntries(TYPES.map((each) => [each, words(each)])) }, "", (value) => {
    type = value;
    for (const line of list.children) line.hidden = type !== "" && line.dataset.type !== type;
  });
  await read(null);
  none.hidden = shown.size > 0;
  watch({
    signal,
    take: (event) => {
      if (of.campaign_id && event.campaign_id !== of.campaign_id) return;
      held.push(event);
      if (isPaused) pause.textContent = `Resume (${held.length})`;
      else release();
      if (held.length > MOST_SHOWN) isBehind = Boolean(held.shift());
    },
    state: (state) => {
      light.className = `light ${state}`;
      light.textContent = state === "live" ? "Live" : "Connection lost, trying again …";
    },
    ready: () => {
      if (isPaused) isBehind = true;
      else catchUp().catch(() => null);
    },
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

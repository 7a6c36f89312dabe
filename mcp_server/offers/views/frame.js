// What all views do: say what they wait for, show the answer of their tool, and ask for another through the host.

import { h } from "../web/charts.js";
import { connect, request } from "./bridge.js";

const TOOL = document.documentElement.dataset.tool;
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/**
 * draw(answer, given): the nodes for a structured answer. controls(ask, given): those for the toolbar, of a host that
 * calls tools; ask(changes) calls the tool again with changed arguments. given: the arguments of the answer shown.
 */
export async function run({ draw, controls }) {
  const status = h("p", { class: "v-status", role: "status" }, "Waiting for the answer …");
  const toolbar = h("div", { class: "v-toolbar" });
  const body = h("div", { class: "v-body" });
  const main = document.querySelector("main");
  main.append(toolbar, body, status);
  let given = {}, asked = 0, canAsk = false;

  const settled = (text, isAlert = false) => {
    main.removeAttribute("aria-busy");
    status.setAttribute("role", isAlert ? "alert" : "status");
    status.replaceChildren(text);
  };

  function show(result, args) {
    if (result?.isError) return settled(textOf(result) || "The call failed, and nothing says why.", true);
    try {
      body.replaceChildren(...[draw(structured(result), args)].flat());
    } catch (error) {
      return settled(`The answer can't be shown. ${error.message}`, true);
    }
    given = args;
    if (canAsk) refill(toolbar, controls(ask, given));
    return settled(`As of ${TIME.format(new Date())}`);
  }

  async function ask(changes) {
    const turn = ++asked, args = { ...given, ...changes };
    main.setAttribute("aria-busy", "true");
    status.replaceChildren("Asking …");
    try {
      const result = await request("tools/call", { name: TOOL, arguments: args });
      if (turn === asked) show(result, args);
    } catch (error) {
      if (turn === asked) settled(error.message, true);
    }
  }

  const handlers = new Map([
    ["ui/notifications/tool-input", ({ arguments: args }) => { given = args ?? {}; }],
    ["ui/notifications/tool-result", (result) => show(result, given)],
    ["ui/notifications/tool-cancelled", ({ reason }) => settled(reason ? `The call was cancelled: ${reason}` : "The call was cancelled.")],
  ]);
  try {
    canAsk = Boolean((await connect(handlers)).serverTools);
  } catch (error) {
    settled(error.message, true);
  }
}

const textOf = (result) => (result?.content ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");

/** The answer; from its text where a host passes that alone. */
const structured = (result) => result?.structuredContent ?? JSON.parse(textOf(result));

/** Put new controls in the place of the old ones, and the focus on the one that had it. */
function refill(toolbar, nodes) {
  const focused = [...toolbar.querySelectorAll("button")].indexOf(document.activeElement);
  toolbar.replaceChildren(...[nodes].flat());
  toolbar.querySelectorAll("button")[focused]?.focus();
}

/** A button that does something. */
export function button(text, attributes, onclick) {
  const made = h("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onclick);
  return made;
}

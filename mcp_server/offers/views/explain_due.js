// The view of explain_due: whether a step can be handed out, and else what holds it back and until when.

import { explanation } from "../web/charts.js";
import { button, run } from "./frame.js";

run({
  draw: (answer) => explanation(answer),
  controls: (ask) => button("Refresh", {}, () => ask({})),
});

// The TypeScript SDK's client on one server: what it lists, and a campaign from the template to the metrics.
// Told in one JSON argument {mode, url} or {mode, command, args, env}; answers with one JSON object on stdout.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const { Client, StreamableHTTPClientTransport, SSEClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");
const { AjvJsonSchemaValidator } = require("@modelcontextprotocol/client/validators/ajv");

const told = JSON.parse(process.argv[2]);
const client = new Client({ name: "judge", version: "1.0.0" }, { versionNegotiation: { mode: told.mode } });
await client.connect(transport());

const { tools } = await client.listTools();
const schemas = new Map(tools.map((tool) => [tool.name, tool.outputSchema]));
const validator = new AjvJsonSchemaValidator();

const step = { step_number: 1, subject: "Hello", body: "Good morning, all" };
const { template } = await call("create_template", { name: "T", type: "email", email_steps: [step] });
const { campaign } = await call("create_campaign", { name: "C", template_id: template.id });
const enrolled = await call("enroll_contacts", {
  campaign_id: campaign.id,
  contacts: [{ email: "ana@example.com" }, { email: "not an address" }],
});
await call("start_campaign", { campaign_id: campaign.id });
const metrics = await call("get_metrics", { campaign_id: campaign.id });
const refused = await client.callTool({ name: "get_campaign", arguments: { campaign_id: template.id } });
const { prompts } = await client.listPrompts();
const { resourceTemplates } = await client.listResourceTemplates();
const read = await client.readResource({ uri: `campaign://${campaign.id}` });

console.log(
  JSON.stringify({
    protocol: client.getNegotiatedProtocolVersion(),
    server: client.getServerVersion()?.name,
    tools: tools.map((tool) => tool.name),
    enrolled: [enrolled.enrolled, enrolled.invalid],
    metrics: metrics.enrolled,
    refused: refused.isError,
    prompts: prompts.length,
    resources: resourceTemplates.length,
    read: JSON.parse(read.contents[0].text).campaign.name,
  }),
);
await client.close();

function transport() {
  if (!told.url) return new StdioClientTransport({ command: told.command, args: told.args, env: told.env });
  const url = new URL(told.url);
  return url.pathname === "/sse" ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
}

// The client holds every answer against the tool's output schema; here it is done once more in the open: every name of
// the answer that is described has its type, and another one would not do.
async function call(name, args) {
  const { structuredContent, isError, content } = await client.callTool({ name, arguments: args });
  assert(!isError, `${name}: ${JSON.stringify(content)}`);
  const fits = validator.getValidator(schemas.get(name));
  assert(fits(structuredContent).valid, `${name}: ${fits(structuredContent).errorMessage}`);
  for (const field of Object.keys(structuredContent)) {
    const { type } = schemas.get(name).properties[field] ?? {};
    if (type === undefined) continue; // it speaks for itself, and the outline leaves it out
    const wrong = { ...structuredContent, [field]: type === "string" ? 1 : "another type" };
    assert(!fits(wrong).valid, `${name} may answer with anything as ${field}`);
  }
  return structuredContent;
}

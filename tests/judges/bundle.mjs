// What a desktop client runs for a bundle, as the maker of the bundle format reads it.
// Told in one JSON argument {manifest, directory, userConfig}; answers with {command, args, env} on stdout.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_PATH}/`);
const { getMcpConfigForManifest } = require("@anthropic-ai/mcpb");

const told = JSON.parse(process.argv[2]);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(told.manifest, "utf8")),
  extensionPath: told.directory,
  systemDirs: {},
  userConfig: told.userConfig,
  pathSeparator: "/",
});
console.log(JSON.stringify(config));

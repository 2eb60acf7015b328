// Generates what is not committed: the stubs by buf, and the service config that all clients share.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
execFileSync("../../scripts/buf", ["generate"], { cwd: here, stdio: "inherit" });
const config = JSON.parse(readFileSync(`${here}/../service_config.json`, "utf8"));
const text = `// Generated from clients/service_config.json.\nexport const SERVICE_CONFIG = ${JSON.stringify(config, null, 2)};\n`;
writeFileSync(`${here}/src/gen/service-config.ts`, text);

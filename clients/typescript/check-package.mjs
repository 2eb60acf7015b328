// Packs the package, and examines it by publint and arethetypeswrong: both must have nothing to say.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = new URL(".", import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), "jeton-package-"));
copyFileSync(join(here, "../../LICENSE"), join(here, "LICENSE"));
try {
  const run = (file, ...words) => execFileSync(file, words, { cwd: here, stdio: ["ignore", "pipe", "inherit"] });
  const [{ filename }] = JSON.parse(run("npm", "pack", "--json", "--pack-destination", directory));
  const tarball = join(directory, filename);
  const bin = (name) => join(here, "node_modules/.bin", name);
  process.stdout.write(run(bin("publint"), "run", "--strict", tarball));
  process.stdout.write(run(bin("attw"), tarball, "--profile", "esm-only"));
} finally {
  rmSync(directory, { recursive: true });
  rmSync(join(here, "LICENSE"), { force: true });
}

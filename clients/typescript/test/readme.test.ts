// The code of README.md, as it stands there.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, type Server } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import {
  type Server as GrpcServer,
  ServerCredentials,
  type ServiceClientConstructor,
  type ServiceError,
  credentials,
  status,
} from "@grpc/grpc-js";
import type { Guard, TokenSource } from "@jeton/client";
import { FakeJeton } from "@jeton/client/testing";
import { KEY, serveFake } from "./fake-server.js";

const ROOT = new URL("../../", import.meta.url).pathname;
const DIRECTORY = `${ROOT}build/readme`;

interface Grpc {
  source: TokenSource;
  guard: Guard;
  server: GrpcServer;
  People: ServiceClientConstructor;
  options: object;
}

/** Writes the blocks that begin with the name of a file; within the package, so that its own name is found. */
function written(): string[] {
  mkdirSync(DIRECTORY, { recursive: true });
  const blocks = [...readFileSync(`${ROOT}README.md`, "utf8").matchAll(/```js\n\/\/ (\S+)\n([\s\S]*?)```/g)];
  return blocks.map(([, name = "", code = ""]) => {
    writeFileSync(`${DIRECTORY}/${name}`, code);
    return name;
  });
}

test("the code of the README works", async () => {
  assert.deepEqual(written(), ["first.mjs", "service.mjs", "grpc.mjs"]);
  const fake = new FakeJeton();
  const server = await serveFake(fake);
  process.env["JETON_URL"] = server.url;
  process.env["JETON_API_KEY"] = KEY;
  const { stdout } = await promisify(execFile)("node", [`${DIRECTORY}/first.mjs`]);
  assert.match(stdout, /^svc:orders is ACTIVE, token jti-/);

  const { app } = (await import(`${DIRECTORY}/service.mjs`)) as {
    app: { listen(port: number, host: string, listening: () => void): Server & { closeAllConnections(): void } };
  };
  const listening = await new Promise<ReturnType<typeof app.listen>>((resolve) => {
    const made = app.listen(0, "127.0.0.1", () => resolve(made));
  });
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
  assert.equal((await fetch(`${url}/whoami`)).status, 401);
  const { accessToken } = await fake.client().issue({ subject: "svc:me", audiences: ["payments"] });
  const headers = { authorization: `Bearer ${accessToken.reveal()}` };
  assert.deepEqual(await (await fetch(`${url}/whoami`, { headers })).json(), { subject: "svc:me" });
  const relayed = await fetch(`${url}/relay?to=${encodeURIComponent(`${url}/whoami`)}`, { headers });
  assert.deepEqual(await relayed.json(), { subject: "svc:orders" });

  const grpc = (await import(`${DIRECTORY}/grpc.mjs`)) as Grpc;
  const port = await new Promise<number>((resolve, reject) => {
    grpc.server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const asked = (options: object) =>
    new Promise<string>((resolve) => {
      const people = new grpc.People(`127.0.0.1:${port}`, credentials.createInsecure(), options);
      people["whoAmI"]?.("me", (error: ServiceError | null, subject: string) => {
        people.close();
        resolve(error === null ? subject : (status[error.code] ?? ""));
      });
    });
  assert.equal(await asked(grpc.options), "svc:orders");
  assert.equal(await asked({}), "UNAUTHENTICATED");
  grpc.server.forceShutdown();
  grpc.guard.close();
  await grpc.source.close();

  listening.closeAllConnections();
  await new Promise((resolve) => listening.close(resolve));
  await server.close();
});

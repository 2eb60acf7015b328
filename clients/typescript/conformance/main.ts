// The runner: does what it is told by JSON lines.
import { format, inspect } from "node:util";
import { createInterface } from "node:readline";
import { type DescService, type JsonValue, fromJson, toJson } from "@bufbuild/protobuf";
import { Client, type ClientOptions, Guard, TokenSource, type TokenSourceOptions } from "@jeton/client";
import { AdminService } from "#lib/gen/jeton/v1/admin_service_pb.js";
import { DiscoveryService } from "#lib/gen/jeton/v1/discovery_service_pb.js";
import { TokenService } from "#lib/gen/jeton/v1/token_service_pb.js";
import { failure } from "./answers.js";
import * as connect from "./connect.js";
import type { Flavour, Given, Server } from "./flavour.js";
import * as grpcJs from "./grpc-js.js";

const flavour: Flavour = process.argv[2] === "grpc-js" ? grpcJs : connect;
const clients = new Map<string, Client>();
const sources = new Map<string, TokenSource>();
const events = new Map<string, JsonValue[]>();
const guards: { guard: Guard; server: Server }[] = [];

function named<T>(things: Map<string, T>, name: unknown): T {
  const found = things.get(String(name));
  if (found === undefined) throw new Error(`there is no ${String(name)}`);
  return found;
}

/** `ttl_s` as `ttlMs`, and so all others. */
function options(given: Given, ...without: string[]): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (["id", "do", ...without].includes(name)) continue;
    const isSeconds = name.endsWith("_s");
    const camel = name.replace(/_s$/, "_ms").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    made[camel] = isSeconds ? Number(value) * 1000 : value;
  }
  return made;
}

function deadline(given: Given): { deadlineMs?: number } {
  return given["deadline_s"] === undefined ? {} : { deadlineMs: Number(given["deadline_s"]) * 1000 };
}

const commands: Record<string, (given: Given) => Promise<unknown> | unknown> = {
  hello: () => ({ language: "TypeScript", version: "0.1.0" }),

  "client.new": (given) => {
    clients.set(String(given["client"]), new Client(options(given, "client") as unknown as ClientOptions));
  },

  "client.call": async (given) => {
    const client = named(clients, given["client"]);
    const groups: [DescService, object][] = [
      [TokenService, client.tokens],
      [AdminService, client.admin],
      [DiscoveryService, client.discovery],
    ];
    for (const [service, calls] of groups) {
      const method = service.methods.find((one) => one.name === given["method"]);
      if (method === undefined) continue;
      const call: unknown = Reflect.get(calls, method.localName);
      if (typeof call !== "function") break;
      const response = await call(fromJson(method.input, given["request"] as JsonValue), deadline(given));
      return { response: toJson(method.output, response) };
    }
    throw new Error(`there is no method ${String(given["method"])}`);
  },

  "source.new": (given) => {
    const told: JsonValue[] = [];
    const { error: _, ...asked } = options(given, "source", "client") as TokenSourceOptions & { error?: never };
    const source = new TokenSource(named(clients, given["client"]), {
      ...asked,
      onEvent: ({ kind, jti, sessionId, error }) => {
        told.push({ kind, jti, session_id: sessionId, error: error?.name ?? "" });
      },
    });
    sources.set(String(given["source"]), source);
    events.set(String(given["source"]), told);
  },

  "source.get": async (given) => {
    const token = await named(sources, given["source"]).get(deadline(given));
    return { token: token.reveal(), jti: token.jti };
  },

  "source.call": (given) => flavour.call(named(sources, given["source"]), given),
  "source.events": (given) => ({ events: named(events, given["source"]) }),
  "source.close": (given) => named(sources, given["source"]).close(),

  "guard.new": async (given) => {
    const guard = new Guard(named(clients, given["client"]), options(given, "guard", "client", "tls"));
    const server = await flavour.serve(guard, given["tls"] as never);
    guards.push({ guard, server });
    return { grpc: server.grpc, http: server.http };
  },

  show: async (given) => {
    const source = named(sources, given["source"]);
    const shown = [source, named(clients, given["client"]), await source.get(), source.request];
    return {
      texts: shown.flatMap((one) => [
        inspect(one),
        inspect(one, { depth: null, showHidden: true }),
        String(one),
        JSON.stringify(one),
        format("%s %o %O %j", one, one, one, one),
      ]),
    };
  },

  // The pipes are those of the runner's own input and output.
  left: () => ({ left: process.getActiveResourcesInfo().filter((name) => name !== "PipeWrap") }),

  close: async () => {
    await Promise.all([...sources.values()].map((source) => source.close()));
    for (const { guard } of guards) guard.close();
    await Promise.all(guards.splice(0).map(({ server }) => server.close()));
    for (const client of clients.values()) client.close();
  },
};

async function answer(given: Given): Promise<void> {
  const command = commands[String(given["do"])];
  let told: object;
  if (command === undefined) told = { unsupported: true };
  else {
    try {
      told = { ok: (await command(given)) ?? {} };
    } catch (error) {
      told = { error: failure(error) };
    }
  }
  process.stdout.write(`${JSON.stringify({ id: given["id"], ...told })}\n`);
}

createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY }).on("line", (line) => {
  void answer(JSON.parse(line) as Given);
});

// The flavour of connect: its servers, its clients, and Node's own HTTP.
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type ServerHttp2Session, createSecureServer, createServer } from "node:http2";
import type { AddressInfo, Server as NetServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import { Http2SessionManager, connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { type Guard, STATUS_CODES, type TokenSource } from "@jeton/client";
import { callerOf, guardInterceptor, tokenInterceptor, verdictOf } from "@jeton/client/connect";
import { guardMiddleware, verdictOf as httpVerdictOf } from "@jeton/client/http";
import { ErrorInfoSchema } from "#lib/gen/google/rpc/error_details_pb.js";
import { echoed, verdictAsJson } from "./answers.js";
import type { Given, Server, Tls } from "./flavour.js";
import { EchoService } from "./gen/jeton/conformance/v1/echo_pb.js";

function routes(router: ConnectRouter): void {
  router.service(EchoService, {
    echo: (request, context) => echoed(request.text, verdictOf(context)),
    async *watch(_, context) {
      for (let number = 1n; !context.signal.aborted; number += 1n) {
        yield { number };
        await pause(50, undefined, { signal: context.signal }).catch(() => undefined);
      }
    },
  });
}

export async function serve(guard: Guard, tls: Tls | undefined): Promise<Server> {
  const adapter = connectNodeAdapter({ routes, interceptors: [guardInterceptor(guard)], contextValues: callerOf });
  const grpc =
    tls === undefined
      ? createServer(adapter)
      : createSecureServer(
          {
            cert: readFileSync(tls.cert_file),
            key: readFileSync(tls.key_file),
            ca: readFileSync(tls.client_ca_file),
            requestCert: true,
          },
          adapter,
        );
  const sessions = new Set<ServerHttp2Session>();
  grpc.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  const guarded = guardMiddleware(guard);
  const http = createHttpServer((request, response) =>
    guarded(request, response, () => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(verdictAsJson(httpVerdictOf(request))));
    }),
  );
  return {
    grpc: await listening(grpc),
    http: await listening(http),
    close: async () => {
      http.closeAllConnections();
      for (const session of sessions) session.destroy();
      await Promise.all([closed(grpc), closed(http)]);
    },
  };
}

function listening(server: NetServer): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}

function closed(server: NetServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

export async function call(source: TokenSource, given: Given): Promise<object> {
  const baseUrl = String(given["target"]);
  const sessionManager = new Http2SessionManager(baseUrl);
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors: [tokenInterceptor(source)] });
  const client = createClient(EchoService, transport);
  let messages = 0;
  try {
    if (given["method"] === "Echo") {
      const timeoutMs = Number(given["deadline_s"] ?? 60) * 1000;
      const { subject, jti } = await client.echo({ text: "hello" }, { timeoutMs });
      return { code: "OK", reason: "", domain: "", message: "", subject, jti };
    }
    for await (const _ of client.watch({})) {
      messages += 1;
      if (messages === given["messages"]) break;
    }
    return { code: "OK", messages };
  } catch (error) {
    const ended = ConnectError.from(error);
    const info = ended.findDetails(ErrorInfoSchema)[0];
    const { reason = "", domain = "" } = info ?? {};
    return { code: STATUS_CODES[ended.code], message: ended.rawMessage, reason, domain, messages };
  } finally {
    sessionManager.abort();
  }
}

// The double of jeton behind a real port, for what is about the wire.
import { type ServerHttp2Session, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { JetonError, STATUS_CODES } from "@jeton/client";
import type { FakeJeton } from "@jeton/client/testing";
import { TokenService } from "#lib/gen/jeton/v1/token_service_pb.js";
import { ErrorInfoSchema } from "#lib/gen/google/rpc/error_details_pb.js";

export const KEY = `jtk_test_${"k".repeat(40)}`;

export interface FakeServer {
  url: string;
  sessions: Set<ServerHttp2Session>;
  close(): Promise<void>;
}

export async function serveFake(fake: FakeJeton): Promise<FakeServer> {
  const { tokens } = fake.client();
  const wrapped = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof JetonError)) throw error;
      const details = [
        { desc: ErrorInfoSchema, value: { domain: "jeton.v1", reason: error.reason, metadata: { ...error.metadata } } },
      ];
      throw new ConnectError(error.message, STATUS_CODES.indexOf(error.code) as Code, undefined, details);
    }
  };
  const adapter = connectNodeAdapter({
    routes: (router) =>
      router.service(TokenService, {
        issue: (request) => wrapped(tokens.issue(request)),
        refresh: (request) => wrapped(tokens.refresh(request)),
        validate: (request) => wrapped(tokens.validate(request)),
        revoke: (request) => wrapped(tokens.revoke(request)),
        async *streamValidate(requests) {
          for await (const { request } of requests) {
            if (request !== undefined) yield { verdict: (await wrapped(tokens.validate(request))).verdict };
          }
        },
      }),
  });
  const server = createServer(adapter);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessions,
    close: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

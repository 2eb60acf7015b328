/** For Express, and whatever calls middleware by `(request, response, next)`. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import type { Guard } from "./guard.js";
import { Refused, authorizations, noVerdict, thumbprint } from "./judging.js";
import type { Verdict } from "./token.js";

const judged = new WeakMap<object, Verdict>();

/** Middleware. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** What a route asks for. */
export interface GuardMiddlewareOptions {
  /** Scopes that it needs besides those of the guard. */
  scopes?: readonly string[];
}

/**
 * Judges each request before what comes next, and a long response again for as long as it lasts: it is cut when the token
 * dies. What comes next finds the verdict by `verdictOf`.
 */
export function guardMiddleware(guard: Guard, options: GuardMiddlewareOptions = {}): Middleware {
  return (request, response, next) => {
    if (guard.excepts(pathOf(request))) return next();
    const { socket } = request;
    const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate().raw : undefined;
    const presented = {
      authorization: authorizations(request.rawHeaders),
      certificateThumbprint: thumbprint(certificate),
    };
    guard.admit(presented, options.scopes).then(
      (admitted) => {
        if (response.destroyed) return;
        judged.set(request, admitted.verdict);
        const stop = admitted.watch((refused) => {
          if (response.headersSent) response.destroy();
          else answer(response, refused);
        });
        response.once("close", stop);
        next();
      },
      (error: unknown) => answer(response, error instanceof Refused ? error : noVerdict(error)),
    );
  };
}

/** Returns the verdict of a request that a guard let through. */
export function verdictOf(request: object): Verdict {
  const found = judged.get(request);
  if (found === undefined) throw new Error("no guard has judged this request");
  return found;
}

/** Express cuts what a router is mounted at from `url`, and keeps the whole. */
function pathOf(request: IncomingMessage): string {
  const whole = "originalUrl" in request && typeof request.originalUrl === "string" ? request.originalUrl : request.url;
  return (whole ?? "").split("?", 1)[0] ?? "";
}

function answer(response: ServerResponse, refused: Refused): void {
  if (response.headersSent || response.destroyed) return;
  const { status, headers, body } = refused.http();
  response.writeHead(status, headers).end(JSON.stringify(body));
}

/** For `@connectrpc/connect` and `@connectrpc/connect-node`. */
import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { TLSSocket } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  createContextKey,
  createContextValues,
} from "@connectrpc/connect";
import { JetonError, STATUS_CODES, type StatusCode } from "./errors.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Admitted, Guard, Presented } from "./guard.js";
import { Refused, authorizations, thumbprint } from "./judging.js";
import { GUARD_DOMAIN, anotherTokenMayHelp } from "./peers.js";
import type { TokenSource } from "./token-source.js";
import type { Verdict } from "./token.js";

const caller = createContextKey<Presented | undefined>(undefined, { description: "what the caller presented" });
const judged = createContextKey<Verdict | undefined>(undefined, { description: "jeton's verdict" });

/** Sends the token of `source` with each call. A unary call that is refused for its token is made once more. */
export function tokenInterceptor(source: TokenSource): Interceptor {
  return (next) => async (request) => {
    const { signal } = request;
    const token = await source.get({ signal }).catch(rethrown);
    request.header.set("authorization", `Bearer ${token.reveal()}`);
    if (request.stream) return next(request);
    try {
      return await next(request);
    } catch (error) {
      if (!isMended(error)) throw error;
      const other = await source.insteadOf(token, { signal }).catch(() => undefined);
      if (other === undefined) throw error;
      request.header.set("authorization", `Bearer ${other.reveal()}`);
      return next(request);
    }
  };
}

function isMended(error: unknown): boolean {
  if (!(error instanceof ConnectError) || error.code !== Code.Unauthenticated) return false;
  return anotherTokenMayHelp(error.findDetails(ErrorInfoSchema).find((info) => info.domain === GUARD_DOMAIN));
}

function rethrown(error: unknown): never {
  if (!(error instanceof JetonError)) throw error;
  const code = error.code === "UNKNOWN" ? Code.Unavailable : codeOf(error.code);
  throw new ConnectError(`There is no token for this call: ${error.message}`, code, undefined, undefined, error);
}

function codeOf(code: StatusCode): Code {
  return STATUS_CODES.indexOf(code); // connect's numbers are gRPC's
}

/** Scopes that a method needs besides those of the guard. */
export interface GuardInterceptorOptions {
  /** Called with a full method name, as `/acme.v1.OrderService/Cancel`. */
  scopes?: (method: string) => readonly string[];
}

/**
 * Judges each call before its handler runs, and streams again for as long as they last. The handler finds the verdict by
 * `verdictOf`. Give `connectNodeAdapter` `callerOf` as its `contextValues`, too: an interceptor sees no certificate.
 */
export function guardInterceptor(guard: Guard, options: GuardInterceptorOptions = {}): Interceptor {
  return (next) => async (request) => {
    const method = `/${request.service.typeName}/${request.method.name}`;
    if (guard.excepts(method)) return next(request);
    const header = request.header.get("authorization");
    const presented = request.contextValues.get(caller) ?? { authorization: header === null ? [] : [header] };
    const admitted = await guard.admit(presented, options.scopes?.(method)).catch(refusal);
    request.contextValues.set(judged, admitted.verdict);
    return request.stream ? watched(admitted, request, next) : next(request);
  };
}

/** Ends a stream when its token dies: its handler's signal is aborted, and its caller gets the refusal. */
async function watched(
  admitted: Admitted,
  request: StreamRequest,
  next: (request: StreamRequest) => Promise<unknown>,
): Promise<StreamResponse> {
  const dead = new AbortController();
  const ended = new Promise<never>((_, reject) => {
    dead.signal.addEventListener("abort", () => reject(dead.signal.reason), { once: true });
  });
  ended.catch(() => undefined); // it is heard of by those that race with it
  const stop = admitted.watch((refused) => dead.abort(connectError(refused)));
  request.signal.addEventListener("abort", stop, { once: true });
  try {
    const signal = AbortSignal.any([request.signal, dead.signal]);
    const response = (await Promise.race([next({ ...request, signal }), ended])) as StreamResponse;
    return { ...response, message: untilEnded(response.message, ended, stop) };
  } catch (error) {
    stop();
    throw error;
  }
}

async function* untilEnded<T>(messages: AsyncIterable<T>, ended: Promise<never>, stop: () => void): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let isDone = false;
  try {
    for (;;) {
      const { done, value } = await Promise.race([iterator.next(), ended]);
      isDone = done === true;
      if (isDone) return;
      yield value;
    }
  } finally {
    stop();
    // Not awaited: a handler that waits for something else returns when that comes.
    if (!isDone) iterator.return?.()?.then(undefined, () => undefined);
  }
}

/** For `contextValues` of `connectNodeAdapter`: what the caller presented, its certificate included. */
export function callerOf(request: IncomingMessage | Http2ServerRequest): ContextValues {
  const { socket } = "stream" in request ? (request.stream.session ?? request) : request;
  const certificate = socket instanceof TLSSocket ? socket.getPeerCertificate().raw : certificateOf(socket);
  return createContextValues().set(caller, {
    authorization: authorizations(request.rawHeaders),
    certificateThumbprint: thumbprint(certificate),
  });
}

/** The socket of an HTTP/2 session is a proxy, of another class. */
function certificateOf(socket: unknown): Buffer | undefined {
  if (typeof socket !== "object" || socket === null || !("getPeerCertificate" in socket)) return undefined;
  const get = socket.getPeerCertificate;
  if (typeof get !== "function") return undefined;
  return (get.call(socket) as { raw?: Buffer } | undefined)?.raw;
}

/** Returns the verdict of a call that a guard let through. */
export function verdictOf(context: Pick<HandlerContext, "values">): Verdict {
  const found = context.values.get(judged);
  if (found === undefined) throw new ConnectError("no guard has judged this call", Code.Internal);
  return found;
}

function refusal(error: unknown): never {
  throw error instanceof Refused ? connectError(error) : error;
}

function connectError(refused: Refused): ConnectError {
  const error = new ConnectError(refused.message, codeOf(refused.code), undefined, undefined, refused);
  for (const detail of refused.details()) {
    const schema = detail.typeUrl.endsWith("ErrorInfo") ? ErrorInfoSchema : RetryInfoSchema;
    error.details.push({ desc: schema, value: fromBinary(schema, detail.value) as never });
  }
  return error;
}

/** For `@grpc/grpc-js`. */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import {
  type CallCredentials,
  InterceptingCall,
  type Interceptor,
  type InterceptingListener,
  Metadata,
  RequesterBuilder,
  Server,
  type ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServerOptions,
  type StatusObject,
  credentials,
  status,
} from "@grpc/grpc-js";
import { readDetails } from "./decode.js";
import { STATUS_CODES } from "./errors.js";
import type { Guard } from "./guard.js";
import { Refused, noVerdict, thumbprint } from "./judging.js";
import { anotherTokenMayHelp } from "./peers.js";
import { Token } from "./renewal.js";
import type { TokenSource } from "./token-source.js";
import { TokenWait } from "./token-wait.js";
import type { Verdict } from "./token.js";

type NextCall = ReturnType<Parameters<Interceptor>[1]>;

const DETAILS = "grpc-status-details-bin";
const judged = new WeakMap<Metadata, Verdict>();
const repeated = new WeakSet<object>();

/** Sends the token of `source` with each call. A unary call that is refused for its token is made once more. */
export function tokenInterceptor(source: TokenSource): Interceptor {
  return (options, nextCall) => {
    const { requestStream, responseStream } = options.method_definition;
    const wait = new TokenWait(options);
    if (requestStream || responseStream) return streamCall(source, nextCall(options), wait);
    return new UnaryCall(source, () => nextCall(options), wait).call;
  };
}

function streamCall(source: TokenSource, next: NextCall, wait: TokenWait): InterceptingCall {
  let isWaiting = false;
  const requester = new RequesterBuilder()
    .withStart((metadata, given, start) => {
      const listener = given as InterceptingListener;
      const live = source.current;
      if (live !== undefined) {
        start(withToken(metadata, live), listener);
        return;
      }
      isWaiting = true;
      wait.token(source).then((found) => {
        isWaiting = false;
        if (found instanceof Token) {
          start(withToken(metadata, found), listener);
          return;
        }
        listener.onReceiveStatus(found);
        next.cancelWithStatus(found.code, found.details); // it was not started: this ends its timer
      });
    })
    .withCancel((cancel) => {
      if (isWaiting) wait.cancel(status.CANCELLED, "Cancelled on client");
      else cancel();
    })
    .build();
  return new InterceptingCall(next, requester);
}

function withToken(metadata: Metadata, token: Token): Metadata {
  const sent = metadata.clone();
  sent.set("authorization", `Bearer ${token.reveal()}`);
  return sent;
}

/** A unary call, and perhaps its repetition. */
class UnaryCall {
  readonly call: InterceptingCall;
  readonly #source: TokenSource;
  readonly #made: () => NextCall;
  readonly #wait: TokenWait;
  #current: NextCall | undefined;
  #metadata = new Metadata();
  #message: unknown;

  constructor(source: TokenSource, made: () => NextCall, wait: TokenWait) {
    this.#source = source;
    this.#made = made;
    this.#wait = wait;
    const first = made();
    let listener: InterceptingListener;
    const requester = new RequesterBuilder()
      .withStart((metadata, given) => {
        this.#metadata = metadata;
        listener = given as InterceptingListener;
      })
      .withSendMessage((message) => {
        this.#message = message;
      })
      .withHalfClose(() => void this.#run(first, listener))
      .withCancel(() => {
        wait.cancel(status.CANCELLED, "Cancelled on client");
        this.#current?.cancelWithStatus(status.CANCELLED, "Cancelled on client");
      })
      .build();
    this.call = new InterceptingCall(first, requester);
  }

  async #run(first: NextCall, listener: InterceptingListener): Promise<void> {
    // A call whose deadline has passed already is started at once, too: grpc-js ends it.
    const token = this.#source.current ?? (await this.#wait.token(this.#source));
    if (!(token instanceof Token)) {
      listener.onReceiveStatus(token);
      first.cancelWithStatus(token.code, token.details); // it was not started: this ends its timer
      return;
    }
    const ended = await this.#once(first, token, listener);
    if (ended.code !== status.UNAUTHENTICATED || !anotherTokenMayHelp(readDetails(detailsOf(ended)).info)) {
      listener.onReceiveStatus(ended);
      return;
    }
    const other = this.#wait.cancelled === undefined ? await this.#wait.another(this.#source, token) : undefined;
    if (other === undefined) listener.onReceiveStatus(this.#wait.cancelled ?? ended);
    else listener.onReceiveStatus(await this.#once(this.#made(), other, listener));
  }

  /** Messages go on at once, and metadata with them: a call that is refused has none. */
  #once(call: NextCall, token: Token, listener: InterceptingListener): Promise<StatusObject> {
    return new Promise((resolve) => {
      let held: Metadata | undefined;
      this.#current = call;
      const inner: InterceptingListener = {
        onReceiveMetadata(metadata) {
          held = metadata;
        },
        onReceiveMessage(message: unknown) {
          if (message === null) return;
          if (held !== undefined) listener.onReceiveMetadata(held);
          listener.onReceiveMessage(message);
        },
        onReceiveStatus: resolve,
      };
      call.start(withToken(this.#metadata, token), inner);
      call.sendMessage(this.#message);
      call.startRead();
      call.halfClose();
    });
  }
}

function detailsOf(ended: StatusObject): Buffer | undefined {
  const value = ended.metadata?.get(DETAILS)[0];
  return value instanceof Buffer ? value : undefined;
}

/** For secure channels, by `credentials.combineChannelCredentials`. It cannot repeat a call: the interceptor does. */
export function tokenCredentials(source: TokenSource): CallCredentials {
  return credentials.createFromMetadataGenerator((_, callback) => {
    source.get().then(
      (token) => callback(null, withToken(new Metadata(), token)),
      (error: unknown) => callback(error instanceof Error ? error : new Error("there is no token")),
    );
  });
}

/** Scopes that a method needs besides those of the guard. */
export interface GuardInterceptorOptions {
  /** Called with a full method name, as `/acme.v1.OrderService/Cancel`. */
  scopes?: (method: string) => readonly string[];
}

/**
 * For `interceptors` of a `Server`: judges each call before its handler runs, and streams again for as long as they last.
 * The handler finds the verdict by `verdictOf`.
 */
export function guardInterceptor(guard: Guard, options: GuardInterceptorOptions = {}): ServerInterceptor {
  return (method, call) => {
    if (guard.excepts(method.path)) return new ServerInterceptingCall(call);
    return new GuardedCall(guard, options.scopes?.(method.path), method.requestStream || method.responseStream, call);
  };
}

class GuardedCall extends ServerInterceptingCall {
  #handler: { onCancel(): void } | undefined;

  constructor(
    guard: Guard,
    scopes: readonly string[] | undefined,
    isLong: boolean,
    call: ServerInterceptingCallInterface,
  ) {
    let stop: (() => void) | undefined;
    let isOver = false;
    const over = () => {
      isOver = true;
      stop?.();
    };
    const refuse = (refused: Refused) => {
      over();
      call.sendStatus(statusOf(refused));
    };
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const presented = {
          authorization: presentedIn(metadata, call),
          certificateThumbprint: thumbprint(call.getAuthContext().sslPeerCertificate?.raw),
        };
        guard.admit(presented, scopes).then(
          (admitted) => {
            if (isOver) return;
            judged.set(metadata, admitted.verdict);
            if (isLong) {
              stop = admitted.watch((refused) => {
                refuse(refused);
                this.#handler?.onCancel();
              });
            }
            next(metadata);
          },
          (error: unknown) => {
            if (!isOver) refuse(error instanceof Refused ? error : noVerdict(error));
          },
        );
      })
      .withOnCancel(over)
      .build();
    super(call, {
      start: (next) => next(listener),
      sendStatus: (ended, next) => {
        if (isOver) return;
        over();
        next(ended);
      },
      sendMessage: (message, next) => {
        if (!isOver) next(message);
      },
    });
  }

  override start(listener: Parameters<ServerInterceptingCall["start"]>[0]): void {
    this.#handler = listener;
    super.start(listener);
  }
}

function statusOf(refused: Refused): StatusObject {
  const metadata = new Metadata();
  metadata.set(DETAILS, Buffer.from(refused.statusBytes()));
  return { code: STATUS_CODES.indexOf(refused.code), details: refused.message, metadata };
}

function presentedIn(metadata: Metadata, call: ServerInterceptingCallInterface): string[] {
  const values = metadata.get("authorization").map(String);
  for (let inner: unknown = call; typeof inner === "object" && inner !== null; inner = Reflect.get(inner, "nextCall")) {
    const stream: unknown = Reflect.get(inner, "stream");
    if (typeof stream === "object" && stream !== null && repeated.has(stream)) return [...values, ...values];
  }
  return values;
}

/** Returns the verdict of a call that a guard let through. */
export function verdictOf(call: { metadata: Metadata }): Verdict {
  const found = judged.get(call.metadata);
  if (found === undefined) throw new Error("no guard has judged this call");
  return found;
}

/**
 * A `Server` whose calls are all guarded. Node hides a second `authorization` from grpc-js, which this server sees, and
 * refuses; a plain `Server` with `guardInterceptor` judges the first one.
 */
export class GuardedServer extends Server {
  constructor(guard: Guard, options: ServerOptions & GuardInterceptorOptions = {}) {
    const { scopes, interceptors, ...rest } = options;
    const guarding = guardInterceptor(guard, scopes === undefined ? {} : { scopes });
    super({ ...rest, interceptors: [guarding, ...(interceptors ?? [])] });
  }

  override bindAsync(
    port: string,
    serverCredentials: ServerCredentials,
    callback: (error: Error | null, port: number) => void,
  ): void {
    super.bindAsync(port, serverCredentials, (error, bound) => {
      const servers: unknown = Reflect.get(this, "http2Servers");
      if (servers instanceof Map) {
        for (const server of servers.keys()) server.prependListener("stream", noteRepeated);
      }
      callback(error, bound);
    });
  }
}

function noteRepeated(stream: ServerHttp2Stream, _: IncomingHttpHeaders, __: number, raw: readonly string[]): void {
  const count = raw.filter((name, at) => at % 2 === 0 && name.toLowerCase() === "authorization").length;
  if (count > 1) repeated.add(stream);
}

// Calls over several endpoints, with typed errors.
import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageShape,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import type { Clock } from "./clock.js";
import { Connection } from "./connection.js";
import { type Failure, errorOf } from "./decode.js";
import type { Endpoint } from "./endpoint.js";
import { type JetonError, UnexpectedError, closed } from "./errors.js";
import type { WatchedCredentials } from "./files.js";
import type { Policy } from "./policy.js";
import { Order, type Outcome, repeat } from "./repeat.js";

/** How a unary call is made. */
export interface UnaryOptions {
  policy: Policy;
  timeoutMs: number;
  /** To the admin listener, though the method is of another service. */
  admin: boolean;
  signal: AbortSignal | undefined;
  /** Called just before the request is sent, each time. */
  sent?: (() => void) | undefined;
}

/** A stream that is open. */
export interface Sending<I> {
  /** The number of the endpoint that it goes to. */
  readonly endpoint: number;
  send(message: I): void;
  /** No more messages come. */
  finish(): void;
  cancel(): void;
}

/** What a stream tells; `ended` comes once, and last. */
export interface StreamListener<O> {
  message(message: O): void;
  ended(error: JetonError | undefined): void;
}

/** What a client stands on: gRPC, or the double of `@jeton/client/testing`. */
export interface Transport {
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: UnaryOptions,
  ): Promise<MessageShape<O>>;
  /** Opens a stream at the current endpoint; at the next one, if that is the one to `avoid`. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    listener: StreamListener<MessageShape<O>>,
    avoid: number | undefined,
  ): Sending<MessageShape<I>>;
  close(): void;
  /** The clock that a test sets; else that of the machine. */
  readonly clock?: Clock;
  /** Calls back when a test has set the clock; returns what ends that. */
  onClock?(callback: () => void): () => void;
}

/** The endpoints of one listener. */
export class Group {
  readonly order: Order;

  constructor(readonly endpoints: readonly Endpoint[]) {
    this.order = new Order(endpoints.length);
  }
}

const CLOSING: Failure = { code: "CANCELLED", message: "closed" };

/** Calls over gRPC. */
export class GrpcTransport implements Transport {
  readonly #public: Group;
  readonly #admin: Group | undefined;
  readonly #credentials: WatchedCredentials;
  readonly #connections = new Map<string, Connection>();
  readonly #old = new Set<Connection>();
  readonly #pauses = new Set<() => void>();
  #closed = false;

  constructor(endpoints: readonly Endpoint[], admin: readonly Endpoint[] | undefined, credentials: WatchedCredentials) {
    this.#public = new Group(endpoints);
    this.#admin = admin === undefined ? undefined : new Group(admin);
    this.#credentials = credentials;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: UnaryOptions,
  ): Promise<MessageShape<O>> {
    const group = this.#group(method.parent.typeName, options.admin);
    const path = `/${method.parent.typeName}/${method.name}`;
    const body = toBinary(method.input, request);
    const bytes = await repeat(
      group.order,
      options.policy,
      options.timeoutMs,
      (endpoint, timeoutMs) => this.#once(group.endpoints[endpoint], path, body, timeoutMs, options),
      (ms) => this.#pause(ms, options.signal),
    );
    return fromBinary(method.output, bytes);
  }

  #once(
    endpoint: Endpoint | undefined,
    path: string,
    body: Uint8Array,
    timeoutMs: number,
    { signal, sent }: UnaryOptions,
  ): Promise<Outcome<Uint8Array>> {
    return new Promise((resolve, reject) => {
      if (this.#closed || endpoint === undefined) throw closed("client");
      signal?.throwIfAborted();
      let answer: Uint8Array | undefined;
      const stop = () => exchange.cancel(CLOSING);
      const exchange = this.#connection(endpoint).open(
        { path, authorization: this.#authorization(), timeoutMs, sent },
        {
          message(bytes) {
            answer = bytes;
          },
          ended: (failure) => {
            signal?.removeEventListener("abort", stop);
            if (this.#closed) reject(closed("client"));
            else if (signal?.aborted === true) reject(signal.reason);
            else if (failure !== undefined) {
              resolve({ error: errorOf(failure, endpoint.url), unsent: failure.unsent === true });
            } else if (answer === undefined) {
              const error = new UnexpectedError("The answer holds no message.", {
                code: "INTERNAL",
                endpoint: endpoint.url,
              });
              resolve({ error, unsent: false });
            } else resolve({ answer });
          },
        },
      );
      signal?.addEventListener("abort", stop, { once: true });
      exchange.send(body);
      exchange.finish();
    });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    listener: StreamListener<MessageShape<O>>,
    avoid: number | undefined,
  ): Sending<MessageShape<I>> {
    if (this.#closed) throw closed("client");
    const group = this.#group(method.parent.typeName, false);
    const { current, count } = group.order;
    const place = current === avoid ? (current + 1) % count : current;
    const endpoint = group.endpoints[place];
    if (endpoint === undefined) throw closed("client");
    const exchange = this.#connection(endpoint).open(
      { path: `/${method.parent.typeName}/${method.name}`, authorization: this.#authorization() },
      {
        message(bytes) {
          listener.message(fromBinary(method.output, bytes));
        },
        ended: (failure) => {
          if (this.#closed) listener.ended(closed("client"));
          else listener.ended(failure === undefined ? undefined : errorOf(failure, endpoint.url));
        },
      },
    );
    return {
      endpoint: place,
      send: (message) => exchange.send(toBinary(method.input, message)),
      finish: () => exchange.finish(),
      cancel: () => exchange.cancel(CLOSING),
    };
  }

  #group(service: string, admin: boolean): Group {
    return (admin || service === "jeton.v1.AdminService") && this.#admin !== undefined ? this.#admin : this.#public;
  }

  #authorization(): string | undefined {
    return this.#credentials.current.authorization?.reveal();
  }

  /** One connection for each endpoint. Calls that are under way end on the one that they began with. */
  #connection(endpoint: Endpoint): Connection {
    this.#credentials.refresh();
    const { version } = this.#credentials;
    const found = this.#connections.get(endpoint.url);
    if (found !== undefined && (found.version === version || !endpoint.tls)) return found;
    if (found !== undefined) {
      for (const one of this.#old) if (one.calls === 0) this.#old.delete(one);
      this.#old.add(found);
      found.isOld = true;
      found.closeIfIdle();
    }
    const made = new Connection(endpoint, endpoint.tls ? this.#credentials.current.tls() : {}, version);
    this.#connections.set(endpoint.url, made);
    return made;
  }

  #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#pauses.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#pauses.add(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  close(): void {
    this.#closed = true;
    for (const done of [...this.#pauses]) done();
    for (const connection of [...this.#connections.values(), ...this.#old]) connection.close();
    this.#connections.clear();
    this.#old.clear();
  }
}

// Calls of gRPC to one endpoint, over HTTP/2. Node's own client is used, not that of a gRPC library: a service that
// guards with connect or with grpc-js needs no second one, and closing leaves nothing behind.
import { type ClientHttp2Session, connect } from "node:http2";
import { type Socket, connect as connectTcp, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Failure } from "./decode.js";
import type { Endpoint } from "./endpoint.js";
import { Exchange, type Listener, brokenBy } from "./exchange.js";
import type { TlsOptions } from "./files.js";

const CONNECT_MS = 5_000;
const SILENT_MS = 10_000;
const PING_MS = 5_000;
const WINDOW_BYTES = 1024 * 1024;

/** How a call is made. */
export interface Head {
  path: string;
  authorization: string | undefined;
  /** None: the call has no deadline. */
  timeoutMs?: number | undefined;
  /** Called just before the request is sent: after a connection was made. */
  sent?: (() => void) | undefined;
}

/** Makes connections to one endpoint: a new one when the old one is lost. */
export class Connection {
  /** Calls that use it. */
  calls = 0;
  /** Credentials have changed: it is closed after its last call. */
  isOld = false;
  readonly #endpoint: Endpoint;
  readonly #tls: TlsOptions;
  readonly #sessions = new Set<Session>();
  #current: Session | undefined;
  #closed = false;

  constructor(
    endpoint: Endpoint,
    tls: TlsOptions,
    readonly version: number,
  ) {
    this.#endpoint = endpoint;
    this.#tls = tls;
  }

  /** Begins a call. */
  open(head: Head, listener: Listener): Exchange {
    this.calls += 1;
    const begun = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const exchange = new Exchange({
      message: (bytes) => listener.message(bytes),
      ended: (failure) => {
        clearTimeout(timer);
        this.calls -= 1;
        listener.ended(failure);
        if (this.isOld) this.closeIfIdle();
      },
    });
    const session = this.#session();
    if (head.timeoutMs !== undefined) {
      timer = setTimeout(() => {
        exchange.cancel(session.isOpen ? { code: "DEADLINE_EXCEEDED", message: "" } : late);
        // Nothing at all was heard meanwhile: later calls do not wait on the same silence.
        if (session.isOpen && session.heardAt < begun && this.#current === session) this.#retire(session);
      }, head.timeoutMs);
    }
    session.run(head, exchange);
    return exchange;
  }

  #session(): Session {
    if (this.#current?.isUsable === true) return this.#current;
    if (this.#current !== undefined) this.#retire(this.#current);
    const session = new Session(this.#endpoint, this.#tls, () => this.#sessions.delete(session));
    this.#sessions.add(session);
    this.#current = session;
    return session;
  }

  #retire(session: Session): void {
    this.#current = undefined;
    session.retire();
  }

  closeIfIdle(): void {
    if (this.calls === 0) this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const session of this.#sessions) session.destroy();
  }
}

const late: Failure = { code: "UNAVAILABLE", message: "no connection could be made in time", unsent: true };

/** One connection. */
class Session {
  heardAt = Number.NEGATIVE_INFINITY;
  isOpen = false;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #connecting: NodeJS.Timeout;
  #waiting: (() => void)[] = [];
  #lost: Failure | undefined;
  #active = 0;
  #watch: NodeJS.Timeout | undefined;

  constructor(endpoint: Endpoint, tls: TlsOptions, gone: () => void) {
    this.#socket = dial(endpoint, tls);
    this.#session = connect(endpoint.url, {
      createConnection: () => this.#socket,
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
    });
    this.#connecting = setTimeout(() => this.#lose(late), CONNECT_MS);
    this.#connecting.unref();
    this.#session.on("connect", () => this.#connected(endpoint));
    this.#session.on("error", (error) => this.#lose(this.#failure(error)));
    this.#session.on("close", () => {
      this.#lose({ code: "UNAVAILABLE", message: "the connection was closed", unsent: !this.isOpen });
      gone();
    });
  }

  get isUsable(): boolean {
    return this.#lost === undefined && !this.#session.closed && !this.#session.destroyed;
  }

  run(head: Head, exchange: Exchange): void {
    if (this.isOpen) this.#begin(head, exchange);
    else this.#waiting.push(() => this.#begin(head, exchange));
  }

  #connected(endpoint: Endpoint): void {
    clearTimeout(this.#connecting);
    if (endpoint.tls && this.#session.alpnProtocol !== "h2") {
      this.#lose({ code: "UNIMPLEMENTED", message: "its TLS does not offer HTTP/2", foreign: true });
      return;
    }
    this.isOpen = true;
    this.#session.setLocalWindowSize(WINDOW_BYTES);
    this.#session.unref();
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const begin of waiting) begin();
  }

  #begin(head: Head, exchange: Exchange): void {
    if (exchange.done) return;
    if (!this.isUsable) {
      exchange.cancel(this.#lost ?? { code: "UNAVAILABLE", message: "the connection was closed", unsent: true });
      return;
    }
    const headers: Record<string, string> = {
      ":method": "POST",
      ":path": head.path,
      "content-type": "application/grpc+proto",
      te: "trailers",
    };
    if (head.timeoutMs !== undefined) headers["grpc-timeout"] = `${Math.max(1, Math.ceil(head.timeoutMs))}m`;
    if (head.authorization !== undefined) headers["authorization"] = head.authorization;
    head.sent?.();
    const stream = this.#session.request(headers);
    this.#count(1);
    stream.once("close", () => this.#count(-1));
    exchange.begin(stream, () => {
      this.heardAt = performance.now();
    });
  }

  /** A connection without calls keeps no process alive; one with calls is tried when nothing is heard. */
  #count(change: 1 | -1): void {
    this.#active += change;
    if (this.#active === 0) {
      clearTimeout(this.#watch);
      if (!this.#session.destroyed) this.#session.unref();
    } else if (this.#active === 1 && change === 1) {
      this.#session.ref();
      // After a long silence it may be gone without a word, as when a machine has slept.
      if (performance.now() - this.heardAt > SILENT_MS && this.heardAt > 0) this.#ping();
      else this.#plan();
    }
  }

  #plan(): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (performance.now() - this.heardAt < SILENT_MS) this.#plan();
      else this.#ping();
    }, SILENT_MS);
    this.#watch.unref();
  }

  #ping(): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lose({ code: "UNAVAILABLE", message: "a ping was not answered" }), PING_MS);
    this.#watch.unref();
    if (this.#session.destroyed) return;
    this.#session.ping((error) => {
      if (error !== null) return; // whoever destroyed the session says why
      this.heardAt = performance.now();
      clearTimeout(this.#watch);
      if (this.#active > 0) this.#plan();
    });
  }

  #failure(error: Error): Failure {
    return { ...brokenBy(error), unsent: !this.isOpen };
  }

  #lose(failure: Failure): void {
    if (this.#lost !== undefined) return;
    this.#lost = failure;
    this.destroy();
    this.#wake();
  }

  /** Lets its calls end, and takes no more. */
  retire(): void {
    if (this.isOpen && !this.#session.destroyed && this.#active > 0) this.#session.close();
    else if (this.#waiting.length === 0 || this.isOpen) this.destroy();
  }

  destroy(): void {
    clearTimeout(this.#connecting);
    clearTimeout(this.#watch);
    if (!this.#session.destroyed) this.#session.destroy();
    // A session that was closing waits for its peer, which may never answer.
    this.#socket.destroy();
  }
}

function dial({ host, port, tls: isTls }: Endpoint, tls: TlsOptions): Socket {
  if (!isTls) return connectTcp({ host, port, noDelay: true });
  const name = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ ...tls, ...name, host, port, ALPNProtocols: ["h2"] });
}

// A token that stays fresh.
import type { Client } from "./client.js";
import { bootClock } from "./clock.js";
import { JetonError, UnexpectedError, closed } from "./errors.js";
import type { IssuedToken } from "./gen/jeton/v1/token_pb.js";
import { RefreshTokenFile } from "./keep.js";
import { type Attempt, Renewal, type SourceRequest, type Token, type TokenEvent } from "./renewal.js";
import { Secret, secret } from "./secret.js";
import { type TokenSourceOptions, sourceRequest } from "./source-options.js";

const DEADLINE_MS = 10_000;
// A timer stands still while the machine sleeps: it is never set for longer.
const LONGEST_TIMER_MS = 30_000;

/** How long a caller waits for a token. */
export interface GetOptions {
  /** 10 s unless given. */
  deadlineMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Holds one token, and keeps it fresh. Made without any call. `get` returns the token in hand at once; it waits only if
 * there is none, or a dead one.
 */
export class TokenSource {
  /** What it asks for. */
  readonly request: SourceRequest;
  readonly #client: Client;
  readonly #state: Renewal;
  readonly #file: RefreshTokenFile | undefined;
  readonly #onRefreshToken: TokenSourceOptions["onRefreshToken"];
  readonly #onEvent: TokenSourceOptions["onEvent"];
  readonly #waiters = new Set<() => void>();
  readonly #closing = new AbortController();
  readonly #forgetClock: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt: Promise<void> | undefined;
  #told: Promise<void> = Promise.resolve();

  constructor(client: Client, options: TokenSourceOptions) {
    this.#client = client;
    this.#onRefreshToken = options.onRefreshToken;
    this.#onEvent = options.onEvent;
    this.#file = options.refreshTokenFile === undefined ? undefined : new RefreshTokenFile(options.refreshTokenFile);
    const kept = this.#kept(options.refreshToken === undefined ? undefined : secret(options.refreshToken));
    this.request = sourceRequest(options, kept !== undefined);
    this.#state = new Renewal(this.request, kept, client.clock ?? bootClock);
    this.#forgetClock = client.transport.onClock?.(() => this.#step());
  }

  #kept(given: Secret | undefined): Secret | undefined {
    return this.#file?.read() ?? given;
  }

  /** Returns the token in hand; `undefined` if there is none, or a dead one. */
  get current(): Token | undefined {
    return this.#state.isClosed ? undefined : this.#state.live();
  }

  /** Returns a token that is not dead. */
  async get(options: GetOptions = {}): Promise<Token> {
    const state = this.#state;
    if (!state.isClosed) {
      const live = state.live();
      if (live !== undefined) return live;
    }
    const end = performance.now() + (options.deadlineMs ?? DEADLINE_MS);
    const seen = state.completed;
    for (;;) {
      const token = state.look(seen);
      if (token !== undefined) return token;
      this.#step();
      if (!(await this.#change(end, options.signal))) throw state.timedOut();
    }
  }

  /** Returns the value of an `authorization` header. */
  async authorization(options?: GetOptions): Promise<string> {
    return `Bearer ${(await this.get(options)).reveal()}`;
  }

  /** Returns another token than one that a peer refused; `undefined` if there is none to be had. */
  async insteadOf(refused: Token, options: GetOptions = {}): Promise<Token | undefined> {
    const state = this.#state;
    const other = () => {
      const token = state.isClosed ? undefined : state.live();
      return token === undefined || token.secret.equals(refused.secret) ? undefined : token;
    };
    if (state.hasEnded || state.isClosed) return undefined;
    const found = other();
    if (found !== undefined) return found;
    if (!state.inFlight && !state.refused()) return undefined;
    const end = performance.now() + (options.deadlineMs ?? DEADLINE_MS);
    const seen = state.completed;
    this.#step();
    while (state.completed <= seen && !state.isClosed) {
      if (!(await this.#change(end, options.signal))) break;
    }
    return other();
  }

  /** Waits until the state changes; `false` when the time is over. Its timer keeps the process alive: somebody waits. */
  #change(end: number, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    const left = end - performance.now();
    if (left <= 0) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      const done = (finish: () => void) => {
        clearTimeout(timer);
        this.#waiters.delete(changed);
        signal?.removeEventListener("abort", aborted);
        finish();
      };
      const changed = () => done(() => resolve(true));
      const aborted = () => done(() => reject(signal?.reason));
      const timer = setTimeout(() => done(() => resolve(false)), left);
      this.#waiters.add(changed);
      signal?.addEventListener("abort", aborted, { once: true });
    });
  }

  #wake(): void {
    for (const changed of [...this.#waiters]) changed();
  }

  /** Does what is due, and plans the rest. The timer keeps no process alive: nobody waits for it. */
  #step(): void {
    clearTimeout(this.#timer);
    if (this.#state.isClosed) return;
    this.#tell(this.#state.tick());
    const attempt = this.#state.begin();
    if (attempt !== undefined) this.#attempt = this.#run(attempt);
    const wakeIn = this.#client.clock === undefined ? this.#state.wakeIn() : undefined;
    if (wakeIn === undefined) return;
    // A timer may fire a part of a millisecond early.
    this.#timer = setTimeout(() => this.#step(), Math.min(Math.ceil(wakeIn) + 1, LONGEST_TIMER_MS));
    this.#timer.unref();
  }

  async #run(attempt: Attempt): Promise<void> {
    const state = this.#state;
    let events: TokenEvent[];
    try {
      const token = await this.#ask(attempt);
      if (token.refresh !== undefined) await this.#keep(new Secret(token.refresh.refreshToken));
      events = state.succeeded(attempt, token);
    } catch (error) {
      const failure =
        error instanceof JetonError
          ? error
          : new UnexpectedError(`The renewal failed by ${error instanceof Error ? error.name : "an unknown cause"}.`);
      events = state.isClosed ? [] : state.failed(attempt, failure);
      if (state.hasEnded) await this.#file?.remove();
    }
    if (!state.isClosed) this.#tell(events);
    this.#wake();
    this.#step();
  }

  async #ask(attempt: Attempt): Promise<IssuedToken> {
    const options = {
      deadlineMs: attempt.deadlineMs,
      rounds: 1,
      signal: this.#closing.signal,
      sent: () => this.#state.sent(attempt),
    };
    const token = await attempt.ask(this.#client, options);
    if (token === undefined) throw new UnexpectedError("The answer holds no token.", { code: "INTERNAL" });
    return token;
  }

  /** Keeps the successor, before anybody sees the token. One that cannot be kept is good nevertheless. */
  async #keep(token: Secret): Promise<void> {
    this.#state.refreshToken = token;
    try {
      await this.#file?.write(token);
      await this.#onRefreshToken?.(token);
    } catch (error) {
      const why = error instanceof Error && "code" in error ? String(error.code) : "its receiver failed";
      this.#client.logger.warn(`jeton: the refresh token could not be kept: ${why}`);
    }
  }

  #tell(events: readonly TokenEvent[]): void {
    const receiver = this.#onEvent;
    if (receiver === undefined) return;
    for (const event of events) {
      this.#told = this.#told.then(async () => {
        try {
          await receiver(event);
        } catch (error) {
          const why = error instanceof Error ? error.name : "unknown cause";
          this.#client.logger.warn(`jeton: the receiver of events failed: ${why}`);
        }
      });
    }
  }

  /** Ends everything that the source began. Callers that wait get `Closed`. */
  async close(): Promise<void> {
    this.#state.isClosed = true;
    clearTimeout(this.#timer);
    this.#forgetClock?.();
    this.#closing.abort(closed("token source"));
    this.#wake();
    await this.#attempt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  toString(): string {
    return `jeton.TokenSource for ${this.request.subject || "a session"}`;
  }
}

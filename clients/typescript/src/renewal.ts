// When a token is renewed, and what callers get meanwhile: the state of a token source, without timers or calls.
// clients/README.md specifies it.
import { type JsonObject, create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { AskOptions, Client } from "./client.js";
import type { Clock } from "./clock.js";
import { again } from "./decode.js";
import { type JetonError, closed, deadlineExceeded, isLasting } from "./errors.js";
import type { IssuedToken as Issued } from "./gen/jeton/v1/token_pb.js";
import { TokenService } from "./gen/jeton/v1/token_service_pb.js";
import { fullJitter } from "./jitter.js";
import { Secret } from "./secret.js";
import { between } from "./token.js";

const ATTEMPT_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
const HEALTHY_AFTER_MS = 60_000;
// Renewals that refusals by peers may cause: so many at once, and one more for each so many milliseconds.
const REFUSALS = 5;
const REFUSAL_EVERY_MS = 10_000;

const SESSION_REVOKED: ReadonlySet<string> = new Set(["SESSION_REVOKED", "REFRESH_TOKEN_REUSED"]);
const SESSION_ENDED: ReadonlySet<string> = new Set([
  ...SESSION_REVOKED,
  "REFRESH_TOKEN_EXPIRED",
  "REFRESH_TOKEN_INVALID",
]);

/** A token in hand. `reveal` gives its text; nothing else does. */
export class Token {
  readonly secret: Secret;
  readonly jti: string;
  /** Empty, unless the token belongs to a session. */
  readonly sessionId: string;

  constructor(text: string, jti: string, sessionId: string) {
    this.secret = new Secret(text);
    this.jti = jti;
    this.sessionId = sessionId;
  }

  /** Returns the text. */
  reveal(): string {
    return this.secret.reveal();
  }

  toString(): string {
    return "[secret]";
  }
}

/** What a renewal asks for. */
export interface SourceRequest {
  readonly subject: string;
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  readonly claims: JsonObject | undefined;
  readonly ttlMs: number | undefined;
  readonly refreshable: boolean;
}

/** What a token source tells. */
export interface TokenEvent {
  readonly kind: "refreshed" | "will_expire" | "session_ended";
  readonly jti: string;
  readonly sessionId: string;
  readonly error: JetonError | undefined;
}

interface Held {
  token: Token;
  deadAt: number;
  renewAt: number;
  warnAt: number;
  warned: boolean;
}

/** One renewal: the call to make, and for how long. */
export interface Attempt {
  readonly isRefresh: boolean;
  readonly deadlineMs: number;
  /** Just before the request went out. */
  sent: number;
  ask(client: Client, options: AskOptions): Promise<Issued | undefined>;
}

/** The state. */
export class Renewal {
  held: Held | undefined;
  /** Attempts that have ended. */
  completed = 0;
  isClosed = false;
  inFlight = false;
  refreshToken: Secret | undefined;
  readonly #clock: Clock;
  readonly #request: SourceRequest;
  #ended: JetonError | undefined;
  #error: JetonError | undefined;
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #notBefore = Number.NEGATIVE_INFINITY;
  #wanted = false;
  #refusals = REFUSALS;
  #refusalsAt: number;

  constructor(request: SourceRequest, refreshToken: Secret | undefined, clock: Clock) {
    this.#request = request;
    this.refreshToken = refreshToken;
    this.#clock = clock;
    this.#refusalsAt = clock.now();
  }

  /** Returns the token in hand, unless it is dead. */
  live(): Token | undefined {
    const held = this.held;
    return held !== undefined && this.#clock.now() < held.deadAt ? held.token : undefined;
  }

  /** For a caller that began to wait after `seen` attempts: returns a token, or `undefined` to wait; else throws. */
  look(seen: number): Token | undefined {
    if (this.isClosed) throw closed("token source");
    const token = this.live();
    if (token !== undefined) return token;
    if (this.#ended !== undefined) throw again(this.#ended);
    const pausing = !this.inFlight && this.#clock.now() < this.#notBefore;
    if (this.#error !== undefined && isLasting(this.#error) && (pausing || this.completed > seen)) {
      throw again(this.#error);
    }
    this.#wanted = true;
    return undefined;
  }

  /** The error of a caller whose deadline passed: that of the latest attempt since the token in hand died. */
  timedOut(): JetonError {
    const isOld = this.held !== undefined && this.#failedAt < this.held.deadAt;
    return this.#error === undefined || isOld ? deadlineExceeded() : again(this.#error);
  }

  /** Whether the session is over. */
  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** A peer refused the token in hand: whether that causes a renewal. */
  refused(): boolean {
    const now = this.#clock.now();
    this.#refusals = Math.min(this.#refusals + (now - this.#refusalsAt) / REFUSAL_EVERY_MS, REFUSALS);
    this.#refusalsAt = now;
    if (this.hasEnded || this.isClosed || this.#refusals < 1) return false;
    this.#refusals -= 1;
    if (this.held !== undefined) this.held.renewAt = now;
    this.#wanted = true;
    return true;
  }

  #dueAt(): number | undefined {
    if (this.hasEnded || this.isClosed || this.inFlight) return undefined;
    if (this.held === undefined) return this.#wanted ? this.#notBefore : undefined;
    return Math.max(this.held.renewAt, this.#notBefore);
  }

  /** Milliseconds until something is to be done; `undefined`: nothing is. */
  wakeIn(): number | undefined {
    const due = this.#dueAt();
    const warn =
      this.held !== undefined && !this.held.warned && !this.hasEnded && !this.isClosed ? this.held.warnAt : undefined;
    if (due === undefined && warn === undefined) return undefined;
    return Math.max(Math.min(due ?? Number.POSITIVE_INFINITY, warn ?? Number.POSITIVE_INFINITY) - this.#clock.now(), 0);
  }

  /** Returns the events whose time has come. */
  tick(): TokenEvent[] {
    const held = this.held;
    if (held === undefined || held.warned || this.hasEnded || this.#clock.now() < held.warnAt) return [];
    held.warned = true;
    const { jti, sessionId } = held.token;
    return [{ kind: "will_expire", jti, sessionId, error: this.#error }];
  }

  /** Returns the attempt that is due, if any. `succeeded` or `failed` follows. */
  begin(): Attempt | undefined {
    const due = this.#dueAt();
    const now = this.#clock.now();
    if (due === undefined || now < due) return undefined;
    this.inFlight = true;
    const left = this.held !== undefined && now < this.held.deadAt ? this.held.deadAt - now : ATTEMPT_MS;
    const deadlineMs = Math.max(Math.min(ATTEMPT_MS, left), 1000);
    const { subject, audiences, scopes, claims, ttlMs, refreshable } = this.#request;
    const duration = ttlMs === undefined ? undefined : durationFromMs(ttlMs);
    if (this.refreshToken !== undefined) {
      const request = create(TokenService.method.refresh.input, {
        refreshToken: this.refreshToken.reveal(),
        scopes: [...scopes],
        ...(duration === undefined ? {} : { ttl: duration }),
      });
      const ask: Attempt["ask"] = async (client, options) =>
        (await client.ask(TokenService.method.refresh, request, options)).token;
      return { isRefresh: true, deadlineMs, sent: now, ask };
    }
    const request = create(TokenService.method.issue.input, {
      subject,
      audiences: [...audiences],
      scopes: [...scopes],
      ...(claims === undefined ? {} : { claims }),
      ...(duration === undefined ? {} : { expiration: { case: "ttl", value: duration } }),
      refreshable,
    });
    const ask: Attempt["ask"] = async (client, options) =>
      (await client.ask(TokenService.method.issue, request, options)).token;
    return { isRefresh: false, deadlineMs, sent: now, ask };
  }

  /** The request of an attempt goes out now. */
  sent(attempt: Attempt): void {
    attempt.sent = this.#clock.now();
  }

  /** Swaps the token in. */
  succeeded(attempt: Attempt, token: Issued): TokenEvent[] {
    this.inFlight = false;
    this.completed += 1;
    this.#error = undefined;
    this.#wanted = false;
    const { issueTime, expireTime, refreshTime, jti, sessionId } = token;
    const lifetime = issueTime !== undefined && expireTime !== undefined ? between(issueTime, expireTime) : 0;
    let renewIn = issueTime !== undefined && refreshTime !== undefined ? between(issueTime, refreshTime) : 0;
    if (!(renewIn > 0 && renewIn < lifetime)) renewIn = 0.8 * lifetime;
    const margin = Math.min(1000, lifetime / 4);
    const deadAt = attempt.sent + lifetime - margin;
    const warnAt = deadAt - lifetime / 10;
    this.held = {
      token: new Token(token.accessToken, jti, sessionId),
      deadAt,
      // A short-lived token would be dead, or near to it, before the server's time for it.
      renewAt: Math.min(attempt.sent + renewIn, warnAt - margin),
      warnAt,
      warned: false,
    };
    return [{ kind: "refreshed", jti, sessionId, error: undefined }];
  }

  /** Plans the next attempt, or ends. */
  failed(attempt: Attempt, error: JetonError): TokenEvent[] {
    this.inFlight = false;
    this.completed += 1;
    this.#error = error;
    if (attempt.isRefresh && SESSION_ENDED.has(error.reason)) return this.#end(error);
    const now = this.#clock.now();
    if (now - this.#failedAt > HEALTHY_AFTER_MS) this.#failures = 0;
    this.#failures += 1;
    this.#failedAt = now;
    const pause = fullJitter(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, this.#failures);
    this.#notBefore = now + pause + (error.retryAfterMs ?? 0);
    return [];
  }

  #end(error: JetonError): TokenEvent[] {
    this.#ended = error;
    const token = this.held?.token;
    if (SESSION_REVOKED.has(error.reason)) this.held = undefined;
    this.refreshToken = undefined;
    const sessionId = token?.sessionId ?? error.metadata["sessionId"] ?? "";
    return [{ kind: "session_ended", jti: token?.jti ?? "", sessionId, error }];
  }
}

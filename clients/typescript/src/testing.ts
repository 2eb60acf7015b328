/** A double of jeton for tests of services: in memory, without a server and a network. */
import { create } from "@bufbuild/protobuf";
import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type JsonObject,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, clientOver } from "./client.js";
import type { Clock } from "./clock.js";
import { milliseconds } from "./decode.js";
import { type JetonError, Unreachable, UnexpectedError, UnknownReason, closed } from "./errors.js";
import { TokenStatus, type Verdict, VerdictSchema } from "./gen/jeton/v1/token_pb.js";
import {
  type IssueRequest,
  type IssueResponse,
  IssueResponseSchema,
  type RefreshRequest,
  type RefreshResponse,
  RefreshResponseSchema,
  type RevokeRequest,
  RevokeResponseSchema,
  StreamValidateResponseSchema,
  TokenService,
  type ValidateRequest,
  ValidateResponseSchema,
} from "./gen/jeton/v1/token_service_pb.js";
import type { StreamValidateRequest } from "./gen/jeton/v1/token_service_pb.js";
import { REASONS } from "./reasons.js";
import type { Logger } from "./logger.js";
import type { Sending, StreamListener, Transport } from "./transport.js";

const TTL_MS = 15 * 60_000;
// The double's time begins here: whoever compares it with the clock of the machine notices.
const BEGINNING_MS = Date.UTC(2000, 0, 1);

interface Minted {
  jti: string;
  sessionId: string;
  subject: string;
  audiences: string[];
  scopes: string[];
  claims: JsonObject | undefined;
  thumbprint: string;
  issuedAt: number;
  expiresAt: number;
  isRevoked: boolean;
}

interface Session {
  id: string;
  subject: string;
  audiences: string[];
  scopes: string[];
  claims: JsonObject | undefined;
  thumbprint: string;
  ttlMs: number;
  refreshToken: string;
  isRevoked: boolean;
}

/**
 * Issues, refreshes, judges and revokes in memory. Its clock stands still until `advance`. Its tokens are no JWTs, so that
 * no verifier accepts them.
 */
export class FakeJeton {
  readonly #tokens = new Map<string, Minted>();
  readonly #sessions = new Map<string, Session>();
  readonly #spent = new Map<string, Session>();
  readonly #clockListeners = new Set<() => void>();
  readonly #answers: { reason: string; metadata: Record<string, string>; method: string }[] = [];
  readonly #clock: Clock = { now: () => this.#now };
  #now = 0;
  #number = 0;
  #isAway = false;
  /** The methods that were called, in order. */
  readonly calls: string[] = [];

  /** Returns a client of this double. A `TokenSource` and a `Guard` made from it work as with a server. */
  client(options: { logger?: Logger } = {}): Client {
    const listeners = this.#clockListeners;
    let isClosed = false;
    const transport: Transport = {
      clock: this.#clock,
      onClock(callback) {
        listeners.add(callback);
        return () => listeners.delete(callback);
      },
      unary: async (method, request, { signal, sent }) => {
        sent?.();
        await Promise.resolve();
        signal?.throwIfAborted();
        if (isClosed) throw closed("client");
        return this.#answer(method, request);
      },
      stream: (method, listener) => this.#stream(method, listener),
      close() {
        isClosed = true;
      },
    };
    return clientOver(transport, options.logger);
  }

  /** Lets time pass, and waits until what is due then was done. */
  async advance(ms: number): Promise<void> {
    this.#now += ms;
    for (const callback of [...this.#clockListeners]) callback();
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** While it is away, nothing answers. */
  setAway(isAway: boolean): void {
    this.#isAway = isAway;
  }

  /** The next call, of `method` if that is given, is refused for this reason, as `TTL_EXCEEDS_MAXIMUM`. */
  answerOnce(reason: string, metadata: Record<string, string> = {}, method = ""): void {
    this.#answers.push({ reason, metadata, method });
  }

  /** Revokes one token. */
  revokeToken(jti: string): void {
    for (const token of this.#tokens.values()) if (token.jti === jti) token.isRevoked = true;
  }

  /** Revokes a session and its tokens. */
  revokeSession(sessionId: string): void {
    const session = this.#sessions.get(sessionId);
    if (session !== undefined) session.isRevoked = true;
    for (const token of this.#tokens.values()) if (token.sessionId === sessionId) token.isRevoked = true;
  }

  #answer<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
  ): MessageShape<O> {
    this.calls.push(method.name);
    if (this.#isAway) throw away();
    const at = this.#answers.findIndex((one) => one.method === "" || one.method === method.name);
    const [told] = at < 0 ? [] : this.#answers.splice(at, 1);
    if (told !== undefined) throw refusal(told.reason, told.metadata);
    return this.#serve(method.name, request) as MessageShape<O>;
  }

  #serve(method: string, request: unknown): unknown {
    switch (method) {
      case TokenService.method.issue.name:
        return this.#issue(request as IssueRequest);
      case TokenService.method.refresh.name:
        return this.#refresh(request as RefreshRequest);
      case TokenService.method.validate.name:
        return create(ValidateResponseSchema, { verdict: this.#judge(request as ValidateRequest) });
      case TokenService.method.revoke.name:
        return this.#revoke(request as RevokeRequest);
      default:
        throw new UnexpectedError(`The double does not serve ${method}.`, { code: "UNIMPLEMENTED" });
    }
  }

  #next(kind: string): string {
    this.#number += 1;
    return `fake-${kind}-${this.#number}`;
  }

  #issue(request: IssueRequest): IssueResponse {
    const { expiration, subject, audiences, scopes, claims, certificateThumbprint: thumbprint } = request;
    const ttlMs = expiration.case === "ttl" ? milliseconds(expiration.value) : TTL_MS;
    const asked = { subject, audiences, scopes, claims, thumbprint };
    if (!request.refreshable) return create(IssueResponseSchema, { token: this.#mint(asked, "", ttlMs) });
    const id = this.#next("session");
    const session: Session = { ...asked, id, ttlMs, refreshToken: this.#next("refresh"), isRevoked: false };
    this.#sessions.set(id, session);
    return create(IssueResponseSchema, { token: this.#mintOf(session) });
  }

  #refresh(request: RefreshRequest): RefreshResponse {
    const spent = this.#spent.get(request.refreshToken);
    if (spent !== undefined) {
      this.revokeSession(spent.id);
      throw refusal("REFRESH_TOKEN_REUSED", { sessionId: spent.id });
    }
    const session = [...this.#sessions.values()].find((one) => one.refreshToken === request.refreshToken);
    if (session === undefined) throw refusal("REFRESH_TOKEN_INVALID", {});
    if (session.isRevoked) {
      throw refusal("SESSION_REVOKED", { sessionId: session.id, revocationReason: "REVOCATION_REASON_LOGOUT" });
    }
    this.#spent.set(session.refreshToken, session);
    session.refreshToken = this.#next("refresh");
    return create(RefreshResponseSchema, { token: this.#mintOf(session) });
  }

  #mintOf(session: Session) {
    const token = this.#mint(session, session.id, session.ttlMs);
    return { ...token, refresh: { refreshToken: session.refreshToken } };
  }

  #mint(
    asked: Pick<Minted, "subject" | "audiences" | "scopes" | "claims" | "thumbprint">,
    sessionId: string,
    ttlMs: number,
  ) {
    const { subject, audiences, scopes, claims, thumbprint } = asked;
    const accessToken = this.#next("token");
    const jti = `jti-${this.#number}`;
    const issuedAt = this.#now;
    const expiresAt = issuedAt + ttlMs;
    const kept = { jti, sessionId, subject, audiences, scopes, claims, thumbprint, issuedAt, expiresAt };
    this.#tokens.set(accessToken, { ...kept, isRevoked: false });
    const [issueTime, expireTime, refreshTime] = [issuedAt, expiresAt, issuedAt + 0.8 * ttlMs].map(instant);
    return {
      accessToken,
      jti,
      sessionId,
      ...(issueTime === undefined ? {} : { issueTime }),
      ...(expireTime === undefined ? {} : { expireTime }),
      ...(refreshTime === undefined ? {} : { refreshTime }),
    };
  }

  #judge(request: ValidateRequest): Verdict {
    const token = this.#tokens.get(request.token);
    if (token === undefined) return create(VerdictSchema, { status: TokenStatus.MALFORMED });
    const { subject, audiences, scopes, jti, sessionId, claims } = token;
    return create(VerdictSchema, {
      status: this.#status(token, request),
      subject,
      audiences,
      scopes,
      jti,
      sessionId,
      clientId: "fake-client",
      ...(claims === undefined ? {} : { claims }),
      issueTime: instant(token.issuedAt),
      expireTime: instant(token.expiresAt),
      serverTime: instant(this.#now),
    });
  }

  #status(token: Minted, { audiences, scopes, certificateThumbprint }: ValidateRequest): TokenStatus {
    if (this.#now >= token.expiresAt) return TokenStatus.EXPIRED;
    if (token.isRevoked) return TokenStatus.REVOKED;
    if (audiences.length > 0 && !audiences.some((one) => token.audiences.includes(one))) {
      return TokenStatus.WRONG_AUDIENCE;
    }
    if (!scopes.every((one) => token.scopes.includes(one))) return TokenStatus.MISSING_SCOPE;
    const isBound = token.thumbprint !== "" && token.thumbprint !== certificateThumbprint;
    return isBound ? TokenStatus.WRONG_BINDING : TokenStatus.ACTIVE;
  }

  #revoke({ target }: RevokeRequest) {
    const kind = target?.kind;
    if (kind?.case === "token") this.revokeToken(this.#tokens.get(kind.value)?.jti ?? "");
    if (kind?.case === "jti") this.revokeToken(kind.value);
    if (kind?.case === "sessionId") this.revokeSession(kind.value);
    return create(RevokeResponseSchema, { propagation: { complete: true } });
  }

  #stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    listener: StreamListener<MessageShape<O>>,
  ): Sending<MessageShape<I>> {
    this.calls.push(method.name);
    let isOpen = true;
    const end = (error: JetonError | undefined) => {
      if (isOpen) listener.ended(error);
      isOpen = false;
    };
    return {
      endpoint: 0,
      send: (message) => {
        queueMicrotask(() => {
          if (!isOpen) return;
          if (this.#isAway) return end(away());
          const { request } = message as unknown as StreamValidateRequest;
          const verdict = request === undefined ? create(VerdictSchema) : this.#judge(request);
          listener.message(create(StreamValidateResponseSchema, { verdict }) as unknown as MessageShape<O>);
        });
      },
      finish: () => end(undefined),
      cancel: () => end(undefined),
    };
  }
}

function instant(ms: number): Timestamp {
  return timestampFromMs(BEGINNING_MS + ms);
}

function away(): Unreachable {
  return new Unreachable("Nothing answers: the double is away.", { code: "UNAVAILABLE", endpoint: "a double" });
}

const CODES: readonly [RegExp, "UNAUTHENTICATED" | "UNAVAILABLE" | "PERMISSION_DENIED" | "INVALID_ARGUMENT"][] = [
  [/^(REFRESH_TOKEN_|SESSION_REVOKED|CALLER_UNAUTHENTICATED)/, "UNAUTHENTICATED"],
  [/(UNAVAILABLE|STALE|SKEW|DRAINING)$/, "UNAVAILABLE"],
  [/(_NOT_ALLOWED|FORBIDDEN|LOCKED)$/, "PERMISSION_DENIED"],
];

function refusal(reason: string, metadata: Record<string, string>): JetonError {
  const code = CODES.find(([pattern]) => pattern.test(reason))?.[1] ?? "INVALID_ARGUMENT";
  return new (REASONS.get(reason) ?? UnknownReason)(`The double refuses by ${reason}.`, { code, reason, metadata });
}

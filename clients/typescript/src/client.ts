// The calls of TokenService and AdminService, over several endpoints, with typed errors.
import {
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  type JsonObject,
  type MessageInitShape,
  type MessageShape,
  create,
} from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "./clock.js";
import { parseEndpoints, isLoopback } from "./endpoint.js";
import { EndpointInvalid } from "./errors.js";
import { WatchedCredentials } from "./files.js";
import {
  AdminService,
  type BulkRevokeRequestSchema,
  type BulkRevokeResponse,
} from "./gen/jeton/v1/admin_service_pb.js";
import { DiscoveryService } from "./gen/jeton/v1/discovery_service_pb.js";
import { RevocationReason } from "./gen/jeton/v1/revocation_pb.js";
import { type RevokeResponse, TokenService } from "./gen/jeton/v1/token_service_pb.js";
import type { Logger } from "./logger.js";
import { policyOf } from "./policy.js";
import { redacted } from "./redact.js";
import { type Secret, revealed, secret } from "./secret.js";
import { streamed } from "./streamed.js";
import { type IssuedToken, type Verdict, issuedToken, verdict } from "./token.js";
import { GrpcTransport, type Transport } from "./transport.js";

/** How a client is made. */
export interface ClientOptions {
  /** `https://host:port`, one or more, tried in order. */
  endpoints: string | readonly string[];
  /** Where AdminService is served; else `endpoints`. */
  adminEndpoints?: string | readonly string[] | undefined;
  apiKey?: string | Secret | undefined;
  /** A file that holds the API key; it is read again when it changes. So are the next three, in PEM. */
  apiKeyFile?: string | undefined;
  caFile?: string | undefined;
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /** Lets the API key go over `http://` to another machine, as within a mesh. */
  allowPlaintext?: boolean | undefined;
  /** Where warnings go; `console` unless given. */
  logger?: Logger | undefined;
}

/** How a call is made. */
export interface CallOptions {
  /** By default as clients/service_config.json says: 2 s for Validate, 10 s for others. */
  deadlineMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** What a token is asked for. */
export interface IssueOptions extends CallOptions {
  subject: string;
  audiences: readonly string[];
  scopes?: readonly string[] | undefined;
  claims?: JsonObject | undefined;
  ttlMs?: number | undefined;
  /** Open a session, with a refresh token. */
  refreshable?: boolean | undefined;
  /** Bind the token to a client certificate. */
  certificateThumbprint?: string | undefined;
}

/** What a token is judged by. */
export interface ValidateOptions extends CallOptions {
  /** Those that the caller accepts; none: those of its registration. */
  audiences?: readonly string[] | undefined;
  scopes?: readonly string[] | undefined;
  minRevision?: string | undefined;
  certificateThumbprint?: string | undefined;
}

/** What is revoked: one of the first four. */
export interface RevokeOptions extends CallOptions {
  token?: string | Secret | undefined;
  sessionId?: string | undefined;
  jti?: string | undefined;
  reason?: keyof typeof RevocationReason | undefined;
  note?: string | undefined;
}

/** The unary methods of a service, by their names in lower camel case. */
export type Calls<S extends DescService> = {
  readonly [K in keyof S["method"] as S["method"][K] extends DescMethodUnary
    ? K
    : never]: S["method"][K] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : never;
};

/** What the other parts of this library may ask of a client. */
export interface AskOptions extends CallOptions {
  rounds?: number;
  sent?: () => void;
  admin?: boolean;
}

const INSIDE = Symbol("jeton.transport");

/** A client of jeton. Made without any call. */
export class Client {
  /** TokenService, as the definitions have it. */
  readonly tokens: Calls<typeof TokenService>;
  /** AdminService, as the definitions have it. */
  readonly admin: Calls<typeof AdminService>;
  /** DiscoveryService, as the definitions have it. */
  readonly discovery: Calls<typeof DiscoveryService>;
  readonly #transport: Transport;
  readonly #logger: Logger;
  readonly #name: string;

  constructor(options: ClientOptions | { [INSIDE]: Transport; logger?: Logger | undefined }) {
    this.#logger = options.logger ?? console;
    if (INSIDE in options) {
      this.#transport = options[INSIDE];
      this.#name = "a double";
    } else {
      const endpoints = parseEndpoints(options.endpoints);
      const admin = options.adminEndpoints === undefined ? undefined : parseEndpoints(options.adminEndpoints);
      const hasKey = options.apiKey !== undefined || options.apiKeyFile !== undefined;
      const open = [...endpoints, ...(admin ?? [])].find((one) => !one.tls && !isLoopback(one));
      if (hasKey && open !== undefined && options.allowPlaintext !== true) {
        throw new EndpointInvalid(
          `The API key would go to ${open.url} in plaintext. Use https://, or allowPlaintext within a mesh.`,
          { code: "INVALID_ARGUMENT", endpoint: open.url },
        );
      }
      const { apiKeyFile, caFile, certFile, keyFile } = options;
      const apiKey = options.apiKey === undefined ? undefined : secret(options.apiKey);
      const credentials = new WatchedCredentials({ apiKey, apiKeyFile, caFile, certFile, keyFile }, this.#logger);
      this.#transport = new GrpcTransport(endpoints, admin, credentials);
      this.#name = endpoints.map((one) => one.url).join(", ");
    }
    this.tokens = this.#calls(TokenService);
    this.admin = this.#calls(AdminService);
    this.discovery = this.#calls(DiscoveryService);
  }

  #calls<S extends DescService>(service: S): Calls<S> {
    const calls: Record<string, unknown> = {};
    for (const method of service.methods) {
      if (!isUnary(method)) continue;
      calls[method.localName] = async (request: MessageInitShape<typeof method.input>, options?: CallOptions) =>
        redacted(method.output, await this.ask(method, create(method.input, request), options));
    }
    return Object.freeze(calls) as Calls<S>;
  }

  /** Mints a token. To keep one fresh, use a `TokenSource`. */
  async issue(options: IssueOptions): Promise<IssuedToken> {
    const { ttlMs, audiences, scopes, ...rest } = options;
    const request = create(TokenService.method.issue.input, {
      subject: rest.subject,
      audiences: [...audiences],
      scopes: [...(scopes ?? [])],
      ...(rest.claims === undefined ? {} : { claims: rest.claims }),
      ...(ttlMs === undefined ? {} : { expiration: { case: "ttl", value: durationFromMs(ttlMs) } }),
      refreshable: rest.refreshable ?? false,
      certificateThumbprint: rest.certificateThumbprint ?? "",
    });
    return issuedToken((await this.ask(TokenService.method.issue, request, options)).token);
  }

  /** Spends a refresh token: returns a new token with its successor. */
  async refresh(
    refreshToken: string | Secret,
    options: CallOptions & { scopes?: readonly string[]; ttlMs?: number } = {},
  ): Promise<IssuedToken> {
    const request = create(TokenService.method.refresh.input, {
      refreshToken: revealed(refreshToken),
      scopes: [...(options.scopes ?? [])],
      ...(options.ttlMs === undefined ? {} : { ttl: durationFromMs(options.ttlMs) }),
    });
    return issuedToken((await this.ask(TokenService.method.refresh, request, options)).token);
  }

  /** Judges a token. A bad token is a verdict; an error means that nothing was decided. */
  async validate(token: string | Secret, options: ValidateOptions = {}): Promise<Verdict> {
    const request = create(TokenService.method.validate.input, {
      token: revealed(token),
      audiences: [...(options.audiences ?? [])],
      scopes: [...(options.scopes ?? [])],
      minRevision: options.minRevision ?? "",
      certificateThumbprint: options.certificateThumbprint ?? "",
    });
    return verdict((await this.ask(TokenService.method.validate, request, options)).verdict);
  }

  /** Revokes one token or session. When it returns with `propagation.complete`, it is dead on every replica. */
  async revoke(options: RevokeOptions): Promise<RevokeResponse> {
    const { token, sessionId, jti } = options;
    const target =
      token !== undefined
        ? { case: "token" as const, value: revealed(token) }
        : sessionId !== undefined
          ? { case: "sessionId" as const, value: sessionId }
          : { case: "jti" as const, value: jti ?? "" };
    return this.tokens.revoke(
      { target: { kind: target }, reason: RevocationReason[options.reason ?? "UNSPECIFIED"], note: options.note ?? "" },
      options,
    );
  }

  /** Revokes long lists, chunk by chunk. */
  bulkRevoke(
    requests: AsyncIterable<MessageInitShape<typeof BulkRevokeRequestSchema>>,
    options: Pick<CallOptions, "signal"> = {},
  ): AsyncIterable<BulkRevokeResponse> {
    const method = AdminService.method.bulkRevoke;
    return streamed(
      (listener) => this.#transport.stream(method, listener, undefined),
      requests,
      (request) => create(method.input, request),
      options.signal,
    );
  }

  /** @internal */
  ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: AskOptions = {},
  ): Promise<MessageShape<O>> {
    const policy = policyOf(method.parent.typeName, method.name);
    return this.#transport.unary(method, request, {
      policy: options.rounds === undefined ? policy : { ...policy, rounds: options.rounds },
      timeoutMs: options.deadlineMs ?? policy.timeoutMs,
      admin: options.admin ?? isWide(method, request),
      signal: options.signal,
      sent: options.sent,
    });
  }

  /** @internal */
  get transport(): Transport {
    return this.#transport;
  }

  /** @internal */
  get clock(): Clock | undefined {
    return this.#transport.clock;
  }

  /** @internal */
  get logger(): Logger {
    return this.#logger;
  }

  /** Closes all connections. Calls that are under way fail by `Closed`. */
  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  toString(): string {
    return `jeton.Client of ${this.#name}`;
  }
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

/** Revoke of more than a token or session is served on the admin listener alone. */
function isWide(method: DescMethod, request: unknown): boolean {
  if (method !== (TokenService.method.revoke as DescMethod)) return false;
  const kind = (request as MessageShape<typeof TokenService.method.revoke.input>).target?.kind.case;
  return kind !== undefined && !["token", "sessionId", "jti"].includes(kind);
}

/** Returns a client over another transport: that of the test double. @internal */
export function clientOver(transport: Transport, logger?: Logger): Client {
  return new Client({ [INSIDE]: transport, logger });
}

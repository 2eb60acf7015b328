import type { JsonObject } from "@bufbuild/protobuf";
import type { SourceRequest, TokenEvent } from "./renewal.js";
import type { Secret } from "./secret.js";

/** What a token source asks for, and what it does with what it gets. */
export interface TokenSourceOptions {
  /** Needed, unless there is a session already. */
  subject?: string | undefined;
  audiences?: readonly string[] | undefined;
  scopes?: readonly string[] | undefined;
  claims?: JsonObject | undefined;
  /** Milliseconds; unless given, the policy of the audience decides. */
  ttlMs?: number | undefined;
  /** Open a session: renewals are Refresh, and a revocation of the session ends it. */
  refreshable?: boolean | undefined;
  /** Begins with a session that somebody else opened: then it never calls Issue. */
  refreshToken?: string | Secret | undefined;
  /** Keeps the latest refresh token in this file, of mode 0600, and begins with the one in it. */
  refreshTokenFile?: string | undefined;
  /** Gets each refresh token before the access token is shown, in place of the file. */
  onRefreshToken?: ((token: Secret) => void | Promise<void>) | undefined;
  /** Gets the events, in order. A slow or failing receiver holds up no renewal. */
  onEvent?: ((event: TokenEvent) => void | Promise<void>) | undefined;
}

/** Checks what cannot be right. */
export function sourceRequest(options: TokenSourceOptions, hasSession: boolean): SourceRequest {
  if (!options.subject && !hasSession) {
    throw new TypeError("a subject is needed, or a session that exists: refreshToken or refreshTokenFile");
  }
  return Object.freeze({
    subject: options.subject ?? "",
    audiences: list("audiences", options.audiences),
    scopes: list("scopes", options.scopes),
    claims: options.claims,
    ttlMs: options.ttlMs,
    refreshable: options.refreshable ?? false,
  });
}

/** Copies a list of texts; a text alone is a frequent mistake that types do not show in JavaScript. */
export function list(name: string, texts: readonly string[] | undefined): readonly string[] {
  if (typeof texts === "string") throw new TypeError(`${name} is a list of texts`);
  return Object.freeze([...(texts ?? [])]);
}

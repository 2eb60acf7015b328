// What calls give: tokens and verdicts, with texts that do not print.
import type { JsonObject } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { RevocationReason } from "./gen/jeton/v1/revocation_pb.js";
import {
  ExpirationBasis,
  type IssuedToken as Issued,
  TokenStatus,
  type Verdict as Told,
} from "./gen/jeton/v1/token_pb.js";
import { Secret } from "./secret.js";

/** A freshly minted token. */
export interface IssuedToken {
  readonly accessToken: Secret;
  readonly jti: string;
  /** Empty, unless the token belongs to a session. */
  readonly sessionId: string;
  readonly issueTime: Date;
  readonly expireTime: Date;
  readonly refreshTime: Date | undefined;
  /** Which rule decided `expireTime`, as `POLICY_DEFAULT`. */
  readonly expirationBasis: string;
  readonly refresh: RefreshCredential | undefined;
}

/** The renewable half of a session. */
export interface RefreshCredential {
  readonly refreshToken: Secret;
  readonly expireTime: Date | undefined;
  readonly sessionExpireTime: Date | undefined;
}

function instant(at: Timestamp | undefined): Date | undefined {
  return at === undefined ? undefined : timestampDate(at);
}

/** Reads a token from an answer. */
export function issuedToken(token: Issued | undefined): IssuedToken {
  const { refresh } = token ?? {};
  return {
    accessToken: new Secret(token?.accessToken ?? ""),
    jti: token?.jti ?? "",
    sessionId: token?.sessionId ?? "",
    issueTime: instant(token?.issueTime) ?? new Date(0),
    expireTime: instant(token?.expireTime) ?? new Date(0),
    refreshTime: instant(token?.refreshTime),
    expirationBasis: ExpirationBasis[token?.expirationBasis ?? 0] ?? "UNSPECIFIED",
    refresh:
      refresh === undefined
        ? undefined
        : {
            refreshToken: new Secret(refresh.refreshToken),
            expireTime: instant(refresh.expireTime),
            sessionExpireTime: instant(refresh.sessionExpireTime),
          },
  };
}

/** What jeton says about a token. Only ACTIVE makes the other fields trustworthy. */
export interface Verdict {
  /** As `ACTIVE` or `REVOKED`. `UNSPECIFIED`: one that this library does not know. */
  readonly status: string;
  readonly isActive: boolean;
  readonly subject: string;
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  readonly jti: string;
  readonly sessionId: string;
  readonly clientId: string;
  readonly issueTime: Date | undefined;
  readonly expireTime: Date | undefined;
  readonly serverTime: Date | undefined;
  /** Custom claims, all of them. */
  readonly claims: Readonly<JsonObject>;
  readonly revision: string;
  /** As `LEAKED`; empty unless the token is revoked. */
  readonly revocationReason: string;
  readonly surroundings: string;
}

/** Reads a verdict from an answer. */
export function verdict(told: Told | undefined): Verdict {
  const status = TokenStatus[told?.status ?? 0] ?? "UNSPECIFIED";
  const reason = told?.revocationReason ?? 0;
  return {
    status,
    isActive: status === "ACTIVE",
    subject: told?.subject ?? "",
    audiences: told?.audiences ?? [],
    scopes: told?.scopes ?? [],
    jti: told?.jti ?? "",
    sessionId: told?.sessionId ?? "",
    clientId: told?.clientId ?? "",
    issueTime: instant(told?.issueTime),
    expireTime: instant(told?.expireTime),
    serverTime: instant(told?.serverTime),
    claims: told?.claims ?? {},
    revision: told?.revision ?? "",
    revocationReason: reason === 0 ? "" : (RevocationReason[reason] ?? String(reason)),
    surroundings: told?.surroundings ?? "",
  };
}

/** Milliseconds between two times of an answer. */
export function between(from: Timestamp, to: Timestamp): number {
  return timestampMs(to) - timestampMs(from);
}

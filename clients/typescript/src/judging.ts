// What a guard answers, over gRPC and over HTTP. clients/README.md holds the table.
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import type { StatusCode } from "./errors.js";
import { STATUS_CODES } from "./errors.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { GUARD_DOMAIN } from "./peers.js";

const TOKEN_BYTES_MAX = 8192;
const RETRY_S = 1;

/** What a guard answers over HTTP. */
export interface HttpAnswer {
  status: number;
  headers: Record<string, string>;
  body: { error: string; reason: string };
}

/** The answer to a call that does not pass. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(
    /** As `REVOKED`, `NO_TOKEN`, `MISSING_SCOPE` or `NO_VERDICT`. */
    readonly reason: string,
    message: string,
    readonly scopes: readonly string[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** For gRPC. */
  get code(): StatusCode {
    if (this.reason === "NO_VERDICT") return "UNAVAILABLE";
    return this.reason === "MISSING_SCOPE" ? "PERMISSION_DENIED" : "UNAUTHENTICATED";
  }

  /** For gRPC: its details. */
  details(): Any[] {
    const info = create(ErrorInfoSchema, { domain: GUARD_DOMAIN, reason: this.reason });
    const details = [anyPack(ErrorInfoSchema, info)];
    if (this.reason === "NO_VERDICT") {
      const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(RETRY_S * 1000) });
      details.push(anyPack(RetryInfoSchema, retry));
    }
    return details;
  }

  /** For gRPC: `grpc-status-details-bin`. */
  statusBytes(): Uint8Array {
    const code = STATUS_CODES.indexOf(this.code);
    return toBinary(StatusSchema, create(StatusSchema, { code, message: this.message, details: this.details() }));
  }

  /** For HTTP. */
  http(): HttpAnswer {
    const answer = (status: number, error: string, challenge: string, more: Record<string, string> = {}) => ({
      status,
      headers: { "www-authenticate": challenge, "content-type": "application/json", ...more },
      body: { error, reason: this.reason },
    });
    switch (this.reason) {
      case "NO_VERDICT":
        return answer(503, "temporarily_unavailable", "Bearer", { "retry-after": String(RETRY_S) });
      case "NO_TOKEN":
        return answer(401, "invalid_request", "Bearer");
      case "MISSING_SCOPE":
        return answer(403, "insufficient_scope", `Bearer error="insufficient_scope", scope="${this.scopes.join(" ")}"`);
      default:
        return answer(401, "invalid_token", `Bearer error="invalid_token", error_description="${this.message}"`);
    }
  }
}

/** Nothing was decided. */
export function noVerdict(cause?: unknown): Refused {
  return new Refused("NO_VERDICT", "The token could not be judged. Try again.", [], { cause });
}

/** The token lacks a scope. */
export function missingScope(scopes: readonly string[]): Refused {
  return new Refused("MISSING_SCOPE", "The token lacks a scope that this call needs.", scopes);
}

/** Returns the token of the `authorization` of a call. More than one value counts as none. */
export function bearer(values: readonly string[]): string {
  const [value = ""] = values;
  const found = values.length === 1 && value.slice(0, 7).toLowerCase() === "bearer " ? value.slice(7).trim() : "";
  if (found === "") {
    throw new Refused("NO_TOKEN", "The call carries no token. Send one as authorization: Bearer.");
  }
  if (found.length > TOKEN_BYTES_MAX || !/^[\x21-\x7e]+$/.test(found)) {
    throw new Refused("MALFORMED", "The token is MALFORMED. Send one that jeton issued.");
  }
  return found;
}

/** `x5t#S256` of a certificate in DER (RFC 8705); empty without one. */
export function thumbprint(der: Uint8Array | undefined): string {
  return der === undefined ? "" : createHash("sha256").update(der).digest("base64url");
}

/** The values of `authorization` among raw headers. Node hides the second one elsewhere. */
export function authorizations(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === "authorization");
}

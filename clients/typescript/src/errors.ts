// What can go wrong, apart from the reasons that a server names: those are in reasons.ts.

/** The names of gRPC's codes. */
export const STATUS_CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** The name of a gRPC code. */
export type StatusCode = (typeof STATUS_CODES)[number];

/** Returns the name of a number; UNKNOWN for one that gRPC does not have. */
export function statusCode(number: number): StatusCode {
  return STATUS_CODES[number] ?? "UNKNOWN";
}

/** What an error is made of. */
export interface ErrorInit {
  code?: StatusCode;
  reason?: string;
  metadata?: Readonly<Record<string, string>>;
  retryAfterMs?: number | undefined;
  endpoint?: string;
  file?: string;
  cause?: unknown;
}

/** A failure of a call, or of what is needed to make one. All errors of this library are of this class. */
export abstract class JetonError extends Error {
  abstract override readonly name: string;
  /** The gRPC code. */
  readonly code: StatusCode;
  /** The server's reason, as `TTL_EXCEEDS_MAXIMUM`; empty if it gave none. */
  readonly reason: string;
  /** What the server says about the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The server asks not to come back earlier. */
  readonly retryAfterMs: number | undefined;
  /** Where the call went; empty if it went nowhere. */
  readonly endpoint: string;
  /** The file that cannot be used; empty if it is not about a file. */
  readonly file: string;

  constructor(message: string, init: ErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code ?? "UNKNOWN";
    this.reason = init.reason ?? "";
    this.metadata = { ...init.metadata };
    this.retryAfterMs = init.retryAfterMs;
    this.endpoint = init.endpoint ?? "";
    this.file = init.file ?? "";
  }
}

/** A text is no endpoint, or the credential would go over plaintext. */
export class EndpointInvalid extends JetonError {
  override readonly name = "EndpointInvalid";
}

/** No API key is in the text or file, or a file cannot be used; `file` names it. */
export class CredentialInvalid extends JetonError {
  override readonly name = "CredentialInvalid";
}

/** Nothing answered at `endpoint`: nothing listens there, TLS does not match, or the connection broke. */
export class Unreachable extends JetonError {
  override readonly name = "Unreachable";
}

/** The deadline passed before the answer. What was asked may have been done. */
export class DeadlineExceeded extends JetonError {
  override readonly name = "DeadlineExceeded";
}

/** What answers at `endpoint` is not a jeton, or one that is too old for the call. */
export class NotJeton extends JetonError {
  override readonly name = "NotJeton";
}

/** The object is closed. */
export class Closed extends JetonError {
  override readonly name = "Closed";
}

/** A status that says nothing more; see `code`. */
export class UnexpectedError extends JetonError {
  override readonly name = "UnexpectedError";
}

/** A refusal by jeton, with its `reason` and `metadata`. */
export abstract class ServerError extends JetonError {}

/** A refusal whose reason this library does not know: the server is newer. */
export class UnknownReason extends ServerError {
  override readonly name = "UnknownReason";
}

const LASTING: ReadonlySet<StatusCode> = new Set<StatusCode>([
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "NOT_FOUND",
  "FAILED_PRECONDITION",
  "UNIMPLEMENTED",
]);

/** Whether a repetition cannot mend it; only somebody's act can. */
export function isLasting(error: JetonError): boolean {
  return error instanceof EndpointInvalid || error instanceof CredentialInvalid || LASTING.has(error.code);
}

/** Returns the error of an object that is closed. */
export function closed(what: string): Closed {
  return new Closed(`The ${what} is closed.`, { code: "CANCELLED" });
}

/** Returns the error of a deadline that passed here. */
export function deadlineExceeded(endpoint = ""): DeadlineExceeded {
  const message = `No answer came from ${endpoint || "jeton"} before the deadline. What was asked may have been done.`;
  return new DeadlineExceeded(message, { code: "DEADLINE_EXCEEDED", endpoint });
}

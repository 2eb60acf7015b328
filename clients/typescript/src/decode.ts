// From a status of gRPC to an error of this library.
import { fromBinary } from "@bufbuild/protobuf";
import { type Any, type Duration, anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  type JetonError,
  NotJeton,
  type StatusCode,
  UnexpectedError,
  UnknownReason,
  Unreachable,
  deadlineExceeded,
} from "./errors.js";
import { type ErrorInfo, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { REASONS } from "./reasons.js";

const DOMAIN = "jeton.v1";

/** How a call ended, if not well. */
export interface Failure {
  code: StatusCode;
  message: string;
  /** `grpc-status-details-bin`. */
  details?: Uint8Array | undefined;
  /** No connection could be made: nothing was sent. */
  unsent?: boolean;
  /** What answered does not speak gRPC. */
  foreign?: boolean;
}

/** What the details of a status tell. */
export interface Told {
  info?: ErrorInfo;
  retryAfterMs?: number;
}

/** Reads `google.rpc.Status`. Whatever a peer sends, reading it does not fail. */
export function readDetails(bytes: Uint8Array | undefined): Told {
  if (bytes === undefined) return {};
  try {
    return readAnys(fromBinary(StatusSchema, bytes).details);
  } catch {
    return {};
  }
}

function readAnys(details: readonly Any[]): Told {
  const told: Told = {};
  for (const detail of details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) told.info = info;
    const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) told.retryAfterMs = milliseconds(delay);
  }
  return told;
}

/** Returns the error of a call to `endpoint`. */
export function errorOf(failure: Failure, endpoint: string): JetonError {
  const { code, message, details } = failure;
  const { info, retryAfterMs } = readDetails(details);
  if (info?.domain === DOMAIN) {
    const { reason, metadata } = info;
    return new (REASONS.get(reason) ?? UnknownReason)(message, { code, reason, metadata, retryAfterMs, endpoint });
  }
  const cause = message.replace(/[. ]+$/, "").slice(0, 300) || "no cause is given";
  if (failure.foreign === true || code === "UNIMPLEMENTED") {
    const told = `What answers at ${endpoint} does not serve this call: ${cause}. It is no jeton, or too old.`;
    return new NotJeton(told, { code, endpoint });
  }
  if (code === "DEADLINE_EXCEEDED") return deadlineExceeded(endpoint);
  if (code === "UNAVAILABLE") {
    const told = `Nothing answers at ${endpoint}: ${cause}. Check the address, and whether it speaks TLS.`;
    return new Unreachable(told, { code, retryAfterMs, endpoint });
  }
  return new UnexpectedError(message || code, { code, retryAfterMs, endpoint });
}

/** Returns a copy of an error for another caller, with a stack of its own. */
export function again(error: JetonError): JetonError {
  const copy = Object.create(Object.getPrototypeOf(error)) as JetonError;
  Object.defineProperties(copy, Object.getOwnPropertyDescriptors(error));
  Error.captureStackTrace(copy, again);
  return copy;
}

/** A duration in milliseconds. */
export function milliseconds(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1_000_000;
}

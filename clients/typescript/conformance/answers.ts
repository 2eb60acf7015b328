// What the library gives, as JSON.
import { type JsonObject, create } from "@bufbuild/protobuf";
import { JetonError, type Verdict } from "@jeton/client";
import { type EchoResponse, EchoResponseSchema } from "./gen/jeton/conformance/v1/echo_pb.js";

const BASE = new Set([
  "name",
  "code",
  "reason",
  "message",
  "stack",
  "cause",
  "metadata",
  "retryAfterMs",
  "endpoint",
  "file",
]);

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Durations are milliseconds in this library, and seconds in the answer. */
function plain(error: JetonError, name: string, value: unknown): unknown {
  if (value instanceof Date) return value.toISOString().replace(".000Z", "Z");
  const isDuration = `${name}Seconds` in error.metadata || `${name}Millis` in error.metadata;
  return isDuration && typeof value === "number" ? value / 1000 : value;
}

export function failure(error: unknown): object {
  if (!(error instanceof JetonError)) {
    return { kind: error instanceof Error ? error.name : "unknown", message: String(error) };
  }
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(error)) {
    if (!BASE.has(name) && value !== undefined) fields[snake(name)] = plain(error, name, value);
  }
  const { name, code, reason, message, metadata, retryAfterMs } = error;
  return { kind: name, code, reason, message, metadata, fields, retry_after_ms: retryAfterMs ?? null };
}

export function verdictAsJson(verdict: Verdict): JsonObject {
  return {
    subject: verdict.subject,
    audiences: [...verdict.audiences],
    scopes: [...verdict.scopes],
    jti: verdict.jti,
    session_id: verdict.sessionId,
    client_id: verdict.clientId,
    claims: { ...verdict.claims },
  };
}

export function echoed(text: string, verdict: Verdict): EchoResponse {
  return create(EchoResponseSchema, {
    text,
    subject: verdict.subject,
    audiences: [...verdict.audiences],
    scopes: [...verdict.scopes],
    jti: verdict.jti,
    sessionId: verdict.sessionId,
    clientId: verdict.clientId,
    claims: { ...verdict.claims },
  });
}

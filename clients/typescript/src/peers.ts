// What a peer's refusal of a token means.

/** The domain of ErrorInfo in what a guard answers. */
export const GUARD_DOMAIN = "guard.jeton.v1";

/** Whether UNAUTHENTICATED says that the token is expired or revoked, or does not say why it is refused. */
export function anotherTokenMayHelp(info: { domain: string; reason: string } | undefined): boolean {
  return info === undefined || info.domain !== GUARD_DOMAIN || info.reason === "EXPIRED" || info.reason === "REVOKED";
}

/** The same of 401: by its `WWW-Authenticate`. */
export function anotherTokenMayHelpHttp(challenge: string | null): boolean {
  const error = /\berror\s*=\s*"?([^",\s]*)"?/i.exec(challenge ?? "")?.[1];
  return error === undefined || error === "invalid_token";
}

import { anotherTokenMayHelpHttp } from "./peers.js";
import type { Token } from "./renewal.js";
import type { TokenSource } from "./token-source.js";

/**
 * Returns a `fetch` that sends the token of `source`. A request that is refused by 401 for its token is made once more,
 * with another one; not if its body is a stream, which can be read but once.
 */
export function fetchWithToken(
  source: TokenSource,
  fetch: typeof globalThis.fetch = globalThis.fetch,
): typeof globalThis.fetch {
  return async (input, init) => {
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined) ?? undefined;
    const canRepeat = !(init?.body instanceof ReadableStream) && !isAsyncIterable(init?.body);
    const send = (token: Token, last: boolean) => {
      // A Request is spent by fetch, and its body with it.
      const target = input instanceof Request && canRepeat && !last ? input.clone() : input;
      const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
      headers.set("authorization", `Bearer ${token.reveal()}`);
      return fetch(target, { ...init, headers });
    };
    const token = await source.get({ signal });
    const response = await send(token, false);
    if (response.status !== 401 || !canRepeat) return response;
    if (!anotherTokenMayHelpHttp(response.headers.get("www-authenticate"))) return response;
    const other = await source.insteadOf(token, { signal });
    if (other === undefined) return response;
    await response.body?.cancel();
    return send(other, true);
  };
}

function isAsyncIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

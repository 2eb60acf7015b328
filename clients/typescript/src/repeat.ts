// A call at one of several endpoints: which to ask, for how long, and when to stop.
import { type JetonError, deadlineExceeded } from "./errors.js";
import type { Policy } from "./policy.js";

/** Which endpoint is current. */
export class Order {
  current = 0;

  constructor(readonly count: number) {}

  /** All endpoints, the current one first. */
  round(): number[] {
    return Array.from({ length: this.count }, (_, step) => (this.current + step) % this.count);
  }
}

/** How one attempt ended. */
export type Outcome<T> = { answer: T } | { error: JetonError; unsent: boolean };

/** Asks endpoints until one answers, within `timeoutMs`. */
export async function repeat<T>(
  order: Order,
  policy: Policy,
  timeoutMs: number,
  attempt: (endpoint: number, timeoutMs: number) => Promise<Outcome<T>>,
  pause: (ms: number) => Promise<void>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let error: JetonError = deadlineExceeded();
  for (let number = 0; number < policy.rounds; number += 1) {
    const turn = order.round();
    for (const [place, endpoint] of turn.entries()) {
      const left = deadline - performance.now();
      if (left <= 0) throw error;
      const outcome = await attempt(endpoint, left / (turn.length - place));
      if ("answer" in outcome) {
        order.current = endpoint;
        return outcome.answer;
      }
      error = outcome.error;
      if (error.code !== "UNAVAILABLE" && error.code !== "DEADLINE_EXCEEDED") {
        if (error.name !== "Closed") order.current = endpoint;
        throw error;
      }
      if (!policy.repeats && !outcome.unsent) throw error;
    }
    if (number + 1 >= policy.rounds) break;
    const longest = Math.min(policy.firstPauseMs * policy.factor ** number, policy.longestPauseMs);
    const ms = Math.max(Math.random() * longest, error.retryAfterMs ?? 0);
    if (performance.now() + ms >= deadline) break;
    await pause(ms);
  }
  throw error;
}

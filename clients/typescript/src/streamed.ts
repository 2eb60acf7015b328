import type { JetonError } from "./errors.js";
import type { Sending, StreamListener } from "./transport.js";

/** Sends what an iterable gives, and gives what comes back. */
export async function* streamed<R, I, O>(
  open: (listener: StreamListener<O>) => Sending<I>,
  requests: AsyncIterable<R>,
  made: (request: R) => I,
  signal: AbortSignal | undefined,
): AsyncGenerator<O, void, undefined> {
  const answers: O[] = [];
  let end: { error: JetonError | undefined } | undefined;
  let wake = () => {};
  const sending = open({
    message(answer) {
      answers.push(answer);
      wake();
    },
    ended(error) {
      end = { error };
      wake();
    },
  });
  const stop = () => sending.cancel();
  signal?.addEventListener("abort", stop, { once: true });
  let failure: { error: unknown } | undefined;
  void (async () => {
    try {
      for await (const request of requests) {
        if (end !== undefined) return;
        sending.send(made(request));
      }
      sending.finish();
    } catch (error) {
      failure = { error };
      sending.cancel();
    }
  })();
  try {
    for (;;) {
      const answer = answers.shift();
      if (answer !== undefined) yield answer;
      else if (end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else break;
    }
    signal?.throwIfAborted();
    if (failure !== undefined) throw failure.error;
    if (end.error !== undefined) throw end.error;
  } finally {
    signal?.removeEventListener("abort", stop);
    if (end === undefined) sending.cancel();
  }
}

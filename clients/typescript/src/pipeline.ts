// StreamValidate, shared by all calls of a guard: answers come in the order of the requests.
import { create } from "@bufbuild/protobuf";
import type { Client } from "./client.js";
import type { Verdict } from "./gen/jeton/v1/token_pb.js";
import { StreamValidateRequestSchema, TokenService, type ValidateRequest } from "./gen/jeton/v1/token_service_pb.js";
import { fullJitter } from "./jitter.js";
import type { Sending } from "./transport.js";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/** What becomes of a question: a verdict, or the word that the stream broke. */
export type Answer = (verdict: Verdict | undefined, broken: boolean) => void;

/** One stream at a time. */
export class Pipeline {
  readonly #client: Client;
  readonly #maxWaiting: number;
  readonly #stallMs: number;
  #stream: Stream | undefined;
  #avoid: number | undefined;
  #failures = 0;
  #notBefore = Number.NEGATIVE_INFINITY;
  #elsewhere = 0;
  #closed = false;

  /** A stream on which a question waits for `stallMs` is left. */
  constructor(client: Client, maxWaiting: number, stallMs: number) {
    this.#client = client;
    this.#maxWaiting = maxWaiting;
    this.#stallMs = stallMs;
  }

  /** Whether as many calls wait as may. Those that Validate is asked about count, too. */
  get isFull(): boolean {
    return (this.#stream?.waiting ?? 0) + this.#elsewhere >= this.#maxWaiting;
  }

  /** Sends a question; `false`: there is no stream now. */
  ask(request: ValidateRequest, answer: Answer): boolean {
    if (this.#closed) return false;
    if (this.#stream === undefined) {
      if (performance.now() < this.#notBefore) return false;
      const stream = new Stream(this.#client, this.#avoid, this.#stallMs, () => this.#broke(stream));
      this.#stream = stream;
    }
    return this.#stream.ask(request, answer);
  }

  /** Counts a call that is asked by Validate. */
  async elsewhere<T>(work: () => Promise<T>): Promise<T> {
    this.#elsewhere += 1;
    try {
      return await work();
    } finally {
      this.#elsewhere -= 1;
    }
  }

  #broke(stream: Stream): void {
    this.#stream = undefined;
    this.#avoid = stream.endpoint;
    this.#failures = stream.answered ? 1 : this.#failures + 1;
    this.#notBefore = performance.now() + fullJitter(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, this.#failures);
  }

  close(): void {
    this.#closed = true;
    this.#stream?.close();
  }
}

class Stream {
  readonly #sending: Sending<ReturnType<typeof question>>;
  answered = false;
  readonly #stallMs: number;
  #waiting: { answer: Answer; since: number }[] = [];
  #next = 0;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(client: Client, avoid: number | undefined, stallMs: number, broke: () => void) {
    this.#stallMs = stallMs;
    this.#sending = client.transport.stream(
      TokenService.method.streamValidate,
      {
        message: ({ verdict }) => {
          this.answered = true;
          this.#take()?.(verdict, false);
        },
        ended: () => {
          this.#ended = true;
          clearTimeout(this.#timer);
          broke();
          for (let answer = this.#take(); answer !== undefined; answer = this.#take()) answer(undefined, true);
        },
      },
      avoid,
    );
  }

  get endpoint(): number {
    return this.#sending.endpoint;
  }

  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  ask(request: ValidateRequest, answer: Answer): boolean {
    if (this.#ended) return false;
    this.#waiting.push({ answer, since: performance.now() });
    if (this.#timer === undefined) this.#watch();
    this.#sending.send(question(request));
    return true;
  }

  /** Takes the first that waits. The list is cut now and then, so that taking one does not move all others. */
  #take(): Answer | undefined {
    const answer = this.#waiting[this.#next]?.answer;
    if (answer === undefined) return undefined;
    this.#next += 1;
    if (this.#next >= 256) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
    return answer;
  }

  /** Ends the stream when its oldest question has waited for too long. */
  #watch(): void {
    const oldest = this.#waiting[this.#next]?.since;
    this.#timer = undefined;
    if (oldest === undefined || this.#ended) return;
    const left = oldest + this.#stallMs - performance.now();
    if (left <= 0) {
      this.#sending.cancel();
      return;
    }
    this.#timer = setTimeout(() => this.#watch(), left);
    this.#timer.unref();
  }

  close(): void {
    this.#sending.cancel();
  }
}

function question(request: ValidateRequest) {
  return create(StreamValidateRequestSchema, { request });
}

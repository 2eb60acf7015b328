// How long a call of grpc-js may wait for a token.
import type { EventEmitter } from "node:events";
import { type InterceptorOptions, Metadata, type StatusObject, propagate, status } from "@grpc/grpc-js";
import { JetonError, STATUS_CODES } from "./errors.js";
import type { Token } from "./renewal.js";
import type { GetOptions, TokenSource } from "./token-source.js";

// A call that grpc-js ended before it was started tells nobody. Its timer may fire a little early.
const START_BEFORE_MS = 5;

/** The wait of one call: it ends with a token, at the deadline of the call, or when the call is cancelled. */
export class TokenWait {
  readonly #deadline: number;
  readonly #cancelling = new AbortController();
  #cancelled: StatusObject | undefined;

  readonly #parent: EventEmitter | undefined;

  constructor({ deadline, parent, propagate_flags: flags = propagate.DEFAULTS }: InterceptorOptions) {
    this.#deadline = Math.min(moment(deadline), moment(flags & propagate.DEADLINE ? parent?.getDeadline() : undefined));
    this.#parent = flags & propagate.CANCELLATION ? parent : undefined;
  }

  /** The status of a call that was cancelled, and may not go on. */
  get cancelled(): StatusObject | undefined {
    return this.#cancelled;
  }

  cancel(code: status, details: string): void {
    this.#cancelled ??= { code, details, metadata: new Metadata() };
    this.#cancelling.abort();
  }

  /** Returns a token, or the status by which the call ends. */
  async token(source: TokenSource): Promise<Token | StatusObject> {
    const end = () => this.cancel(status.CANCELLED, "Cancelled by parent call");
    this.#parent?.once("cancelled", end);
    try {
      const token = await source.get(this.#options());
      if (this.#cancelled !== undefined) return this.#cancelled;
      if (this.#left() >= START_BEFORE_MS) return token;
      const details = "The deadline passed before a token came.";
      return { code: status.DEADLINE_EXCEEDED, details, metadata: new Metadata() };
    } catch (error) {
      return this.#cancelled ?? tokenless(error);
    } finally {
      this.#parent?.off("cancelled", end);
    }
  }

  /** Returns another token than a refused one, if there is one to be had in time. */
  async another(source: TokenSource, refused: Token): Promise<Token | undefined> {
    const other = await source.insteadOf(refused, this.#options()).catch(() => undefined);
    return this.#cancelled === undefined && this.#left() >= START_BEFORE_MS ? other : undefined;
  }

  /** The deadline of a call of grpc-js is a time of the machine's clock: so it is compared with that one. */
  #left(): number {
    return this.#deadline - Date.now();
  }

  #options(): GetOptions {
    const { signal } = this.#cancelling;
    return this.#deadline === Number.POSITIVE_INFINITY ? { signal } : { signal, deadlineMs: Math.max(this.#left(), 0) };
  }
}

function moment(deadline: Date | number | undefined): number {
  return deadline === undefined ? Number.POSITIVE_INFINITY : Number(deadline);
}

function tokenless(error: unknown): StatusObject {
  const known = error instanceof JetonError;
  const code = known && error.code !== "UNKNOWN" ? STATUS_CODES.indexOf(error.code) : status.UNAVAILABLE;
  const why = known ? error.message : "unknown cause";
  return { code, details: `There is no token for this call: ${why}`, metadata: new Metadata() };
}

// The guard of a server: judges the token of each call. The modules connect, grpc-js and http stand on it.
import { create } from "@bufbuild/protobuf";
import type { Client } from "./client.js";
import { JetonError, Unreachable, isLasting } from "./errors.js";
import type { Verdict as Told } from "./gen/jeton/v1/token_pb.js";
import { TokenService, type ValidateRequest, ValidateRequestSchema } from "./gen/jeton/v1/token_service_pb.js";
import { Refused, bearer, missingScope, noVerdict } from "./judging.js";
import { Pipeline } from "./pipeline.js";
import { type Secret, revealed } from "./secret.js";
import { list } from "./source-options.js";
import { type Verdict, verdict } from "./token.js";

const DEADLINE_MS = 2_000;
const RECHECK_MS = 30_000;
const MAX_WAITING = 1_000;
// A timer that fires a moment too early must not ask again and again.
const SOONEST_MS = 20;
const LOG_EVERY_MS = 60_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** How a guard judges. */
export interface GuardOptions {
  /** Those that this server accepts; none: those of its registration. */
  audiences?: readonly string[] | undefined;
  /** Scopes that every call needs. */
  scopes?: readonly string[] | undefined;
  /** `unary`: a call of Validate for each; `stream`: all share one StreamValidate. */
  mode?: "unary" | "stream" | undefined;
  /** How long a call waits for its verdict: 2 s unless given. */
  deadlineMs?: number | undefined;
  /** How often a long stream is judged again: 30 s unless given; 0: never. */
  recheckMs?: number | undefined;
  /** With `stream`: so many calls wait at most; 1000 unless given. */
  maxWaiting?: number | undefined;
  /** Full method names, as `/grpc.health.v1.Health/Check`, or paths, that need no token. */
  exceptFor?: readonly string[] | undefined;
}

/** What a call presents. */
export interface Presented {
  /** All values of `authorization`. */
  authorization: readonly string[];
  /** Of the certificate that the peer presented on this connection. */
  certificateThumbprint?: string | undefined;
}

/** How a token is judged. */
export interface JudgeOptions {
  /** Scopes that this call needs besides those of the guard. */
  scopes?: readonly string[] | undefined;
  certificateThumbprint?: string | undefined;
}

/** A call that passed; `watch` judges it again for as long as it lasts. */
export interface Admitted {
  verdict: Verdict;
  /** Calls `end` when the call must end; returns what stops it, for when the call has ended by itself. */
  watch(end: (refused: Refused) => void): () => void;
}

/** Judges the token of each call. No verdict is cached; without one, no call passes. */
export class Guard {
  readonly #client: Client;
  readonly #audiences: readonly string[];
  readonly #scopes: readonly string[];
  readonly #deadlineMs: number;
  readonly #recheckMs: number;
  readonly #exceptFor: ReadonlySet<string>;
  readonly #pipeline: Pipeline | undefined;
  readonly #complained = new Map<string, number>();
  readonly #watches = new Set<() => void>();

  constructor(client: Client, options: GuardOptions = {}) {
    this.#client = client;
    this.#audiences = list("audiences", options.audiences);
    this.#scopes = list("scopes", options.scopes);
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    this.#recheckMs = options.recheckMs ?? RECHECK_MS;
    this.#exceptFor = new Set(list("exceptFor", options.exceptFor));
    const mode = options.mode ?? "unary";
    if (mode !== "unary" && mode !== "stream") throw new TypeError("mode is unary or stream");
    this.#pipeline =
      mode === "stream" ? new Pipeline(client, options.maxWaiting ?? MAX_WAITING, 2 * this.#deadlineMs) : undefined;
  }

  /** Whether a method or path needs no token. */
  excepts(name: string): boolean {
    return this.#exceptFor.has(name);
  }

  /** Returns the verdict of a token that passes. Throws `Refused`, which says what to answer. */
  async judge(token: string | Secret, options: JudgeOptions = {}): Promise<Verdict> {
    const scopes = [...this.#scopes, ...(options.scopes ?? [])];
    const request = create(ValidateRequestSchema, {
      token: revealed(token),
      audiences: [...this.#audiences],
      scopes,
      certificateThumbprint: options.certificateThumbprint ?? "",
    });
    let told: Told | undefined;
    try {
      told = await this.#ask(request);
    } catch (error) {
      if (error instanceof Refused) throw error;
      this.#complain(error);
      throw noVerdict(error);
    }
    const found = verdict(told);
    if (found.isActive) return found;
    if (found.status === "UNSPECIFIED") {
      this.#complain(new Error("it answers a status that this library does not know"));
      throw noVerdict();
    }
    if (found.status === "MISSING_SCOPE") throw missingScope(scopes);
    throw new Refused(found.status, `The token is ${found.status}. Get another one.`);
  }

  /** Judges a call by what it presents. Throws `Refused`. */
  async admit(presented: Presented, scopes: readonly string[] = []): Promise<Admitted> {
    const token = bearer(presented.authorization);
    const { certificateThumbprint } = presented;
    const judge = () => this.judge(token, { scopes, certificateThumbprint });
    const found = await judge();
    return { verdict: found, watch: (end) => this.#watch(found, judge, end) };
  }

  async #ask(request: ValidateRequest): Promise<Told | undefined> {
    const end = performance.now() + this.#deadlineMs;
    const pipeline = this.#pipeline;
    if (pipeline === undefined) return this.#validate(request, this.#deadlineMs);
    if (pipeline.isFull) throw noVerdict();
    const told = await this.#byStream(pipeline, request);
    if (told !== "broken") return told;
    if (pipeline.isFull) throw noVerdict();
    return pipeline.elsewhere(() => this.#validate(request, Math.max(end - performance.now(), 1)));
  }

  async #validate(request: ValidateRequest, deadlineMs: number): Promise<Told | undefined> {
    return (await this.#client.ask(TokenService.method.validate, request, { deadlineMs })).verdict;
  }

  /** When the time is over, its place in the order is kept until the answer comes. */
  #byStream(pipeline: Pipeline, request: ValidateRequest): Promise<Told | undefined | "broken"> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(noVerdict()), this.#deadlineMs);
      const asked = pipeline.ask(request, (told, broken) => {
        clearTimeout(timer);
        resolve(broken ? "broken" : told);
      });
      if (asked) return;
      clearTimeout(timer);
      resolve("broken");
    });
  }

  #watch(first: Verdict, judge: () => Promise<Verdict>, end: (refused: Refused) => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    let stopped = false;
    let missesUntil: number | undefined;
    const stop = () => {
      stopped = true;
      clearTimeout(timer);
      this.#watches.delete(stop);
    };
    const plan = (ms: number) => {
      if (stopped || !(ms < LONGEST_TIMER_MS)) return;
      timer = setTimeout(again, ms);
      timer.unref();
    };
    const next = ({ expireTime, serverTime }: Verdict) => {
      missesUntil = undefined;
      const recheck = this.#recheckMs > 0 ? this.#recheckMs : Number.POSITIVE_INFINITY;
      // Both times are the server's: only their difference is used.
      const left = expireTime === undefined || serverTime === undefined ? recheck : +expireTime - +serverTime;
      plan(Math.max(Math.min(recheck, left), SOONEST_MS));
    };
    const finish = (refused: Refused) => {
      if (stopped) return;
      stop();
      end(refused);
    };
    const again = () => {
      judge().then(next, (error: unknown) => {
        const refused = error instanceof Refused ? error : noVerdict(error);
        if (refused.reason !== "NO_VERDICT") return finish(refused);
        const now = performance.now();
        missesUntil ??= now + this.#recheckMs;
        if (now >= missesUntil) finish(refused);
        else plan(Math.min(1000, this.#recheckMs));
      });
    };
    this.#watches.add(stop);
    next(first);
    return stop;
  }

  /** Tells the log of the server what is wrong with the guard's own calls, once a minute for each reason. */
  #complain(error: unknown): void {
    const kind = error instanceof JetonError ? error.reason || error.name : "unknown";
    const now = performance.now();
    if (now - (this.#complained.get(kind) ?? Number.NEGATIVE_INFINITY) < LOG_EVERY_MS) return;
    this.#complained.set(kind, now);
    const why = error instanceof Error ? error.message : "unknown cause";
    const message = `jeton: calls are refused, because the guard gets no verdict: ${why}`;
    const { logger } = this.#client;
    if (error instanceof JetonError && isLasting(error) && !(error instanceof Unreachable)) logger.error(message);
    else logger.warn(message);
  }

  /** Ends the stream of verdicts, and all watching. Calls that come later are judged by Validate. */
  close(): void {
    this.#pipeline?.close();
    for (const stop of [...this.#watches]) stop();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  toString(): string {
    return `jeton.Guard for ${this.#audiences.join(", ") || "its own audiences"}`;
  }
}

import { createHash, timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

const HIDDEN = "[secret]";

/** Holds a token or a key. Printing, JSON and `inspect` give `[secret]`; `reveal` gives the text. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** Returns the text. */
  reveal(): string {
    return this.#text;
  }

  /** Whether both hold the same text; takes as long, whatever they hold. */
  equals(other: Secret): boolean {
    const digest = (text: string) => createHash("sha256").update(text).digest();
    return timingSafeEqual(digest(this.#text), digest(other.#text));
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}

/** Returns `text` as a secret. */
export function secret(text: string | Secret): Secret {
  return typeof text === "string" ? new Secret(text) : text;
}

/** Returns the text of a secret. */
export function revealed(text: string | Secret): string {
  return typeof text === "string" ? text : text.reveal();
}

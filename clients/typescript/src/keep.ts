// A refresh token kept across restarts: a file of mode 0600, always whole.
import { randomBytes } from "node:crypto";
import { constants, closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CredentialInvalid } from "./errors.js";
import { Secret } from "./secret.js";

/** The file of one session. */
export class RefreshTokenFile {
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  /** Returns the token that is kept; `undefined` if there is no file. */
  read(): Secret | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(this.path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "unknown cause";
      if (code === "ENOENT") return undefined;
      throw this.#invalid(`cannot be read: ${code}`);
    }
    try {
      if (process.platform !== "win32" && (fstatSync(descriptor).mode & 0o077) !== 0) {
        throw this.#invalid("can be read by others than its owner: make its mode 0600");
      }
      const text = readFileSync(descriptor, "ascii").trim();
      if (text === "") throw this.#invalid("is empty: remove it");
      return new Secret(text);
    } finally {
      closeSync(descriptor);
    }
  }

  /** Replaces the file by a whole new one. */
  async write(token: Secret): Promise<void> {
    const temporary = join(dirname(this.path), `.${basename(this.path)}.${randomBytes(6).toString("hex")}`);
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(`${token.reveal()}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.path);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw error;
    }
  }

  /** The session is over. */
  async remove(): Promise<void> {
    await unlink(this.path).catch(() => undefined);
  }

  #invalid(why: string): CredentialInvalid {
    return new CredentialInvalid(`The file of the refresh token, ${this.path}, ${why}.`, {
      code: "UNAUTHENTICATED",
      file: this.path,
    });
  }
}

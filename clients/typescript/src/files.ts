// Credentials in files, which are read again when they change.
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { CredentialInvalid } from "./errors.js";
import type { Logger } from "./logger.js";
import { Secret } from "./secret.js";

const LOOK_EVERY_MS = 1000;
const API_KEY = /^jtk_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{20,128}$/;

/** Where the credentials of a client are. */
export interface CredentialFiles {
  apiKey?: Secret | undefined;
  apiKeyFile?: string | undefined;
  caFile?: string | undefined;
  certFile?: string | undefined;
  keyFile?: string | undefined;
}

/** For `tls.connect`. */
export interface TlsOptions {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/** What was read. `tls` holds a private key: it is kept where `inspect` does not look. */
export class Credentials {
  readonly #tls: TlsOptions;

  constructor(
    readonly authorization: Secret | undefined,
    tls: TlsOptions,
  ) {
    this.#tls = tls;
  }

  tls(): TlsOptions {
    return this.#tls;
  }
}

/** Reads and checks everything. */
export function readCredentials(files: CredentialFiles): Credentials {
  let key = files.apiKey;
  if (files.apiKeyFile !== undefined) key = new Secret(contents(files.apiKeyFile).toString("utf8").trim());
  if (key !== undefined && !API_KEY.test(key.reveal())) {
    const where = files.apiKeyFile === undefined ? "The text" : `The file ${files.apiKeyFile}`;
    throw invalid(`${where} holds no API key. Give one as jeton printed it: jtk_…`, files.apiKeyFile);
  }
  const tls: TlsOptions = {};
  if (files.caFile !== undefined) {
    tls.ca = contents(files.caFile);
    check({ ca: tls.ca }, files.caFile, `The file ${files.caFile} holds no certificate in PEM.`);
  }
  if (files.certFile !== undefined && files.keyFile !== undefined) {
    tls.cert = contents(files.certFile);
    tls.key = contents(files.keyFile);
    const why = `The certificate ${files.certFile} and the key ${files.keyFile} do not fit together, or are not in PEM.`;
    check({ cert: tls.cert, key: tls.key }, files.certFile, why);
  } else if (files.certFile !== undefined || files.keyFile !== undefined) {
    throw invalid("A client certificate needs both, certFile and keyFile.", files.certFile ?? files.keyFile);
  }
  return new Credentials(key === undefined ? undefined : new Secret(`Bearer ${key.reveal()}`), tls);
}

function check(options: TlsOptions, file: string, why: string): void {
  if (options.ca?.includes("-----BEGIN CERTIFICATE-----") === false) throw invalid(why, file);
  try {
    createSecureContext(options);
  } catch {
    throw invalid(why, file);
  }
}

function contents(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown cause";
    throw invalid(`The file ${file} cannot be read: ${code}.`, file);
  }
}

function invalid(message: string, file: string | undefined): CredentialInvalid {
  return new CredentialInvalid(message, { code: "UNAUTHENTICATED", file: file ?? "" });
}

/** Credentials whose files are watched. */
export class WatchedCredentials {
  current: Credentials;
  /** Grows with each change. */
  version = 0;
  readonly #files: CredentialFiles;
  readonly #paths: string[];
  readonly #logger: Logger;
  #stamps: string;
  #lookAt: number;

  constructor(files: CredentialFiles, logger: Logger) {
    this.#files = files;
    this.#logger = logger;
    this.#paths = [files.apiKeyFile, files.caFile, files.certFile, files.keyFile].filter((path) => path !== undefined);
    this.#stamps = this.#look();
    this.current = readCredentials(files);
    this.#lookAt = performance.now() + LOOK_EVERY_MS;
  }

  /** Looks at the files, at most once a second. What does not fit together leaves the old contents in use. */
  refresh(): void {
    const now = performance.now();
    if (this.#paths.length === 0 || now < this.#lookAt) return;
    this.#lookAt = now + LOOK_EVERY_MS;
    const stamps = this.#look();
    if (stamps === this.#stamps) return;
    this.#stamps = stamps;
    try {
      this.current = readCredentials(this.#files);
      this.version += 1;
    } catch (error) {
      const why = error instanceof Error ? error.message : "unknown cause";
      this.#logger.warn(`jeton: changed credentials cannot be used, the old ones stay in use: ${why}`);
    }
  }

  #look(): string {
    return this.#paths
      .map((path) => {
        const found = statSync(path, { bigint: true, throwIfNoEntry: false });
        return found === undefined ? "absent" : `${found.size} ${found.mtimeNs} ${found.ino}`;
      })
      .join("; ");
  }
}

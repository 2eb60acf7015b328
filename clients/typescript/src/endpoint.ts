import { isIPv6 } from "node:net";
import { EndpointInvalid } from "./errors.js";

/** Where a server is. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** `https://host:port`. */
  readonly url: string;
}

/** Reads an endpoint. The error does not repeat the text, which may hold a password. */
export function parseEndpoint(text: string): Endpoint {
  const scheme = /^(https?):\/\//.exec(text)?.[1];
  if (scheme === undefined) throw invalid("it begins neither with https:// nor with http://");
  const authority = text.slice(scheme.length + 3).replace(/\/$/, "");
  if (authority.includes("@")) throw invalid("it holds a user or a password, which are not sent");
  if (/[/?#]/.test(authority)) throw invalid("it has a path, a query or a fragment");
  const found = /^(?:\[(?<six>[^\]]*)\]|(?<name>[^:]*))(?::(?<port>.*))?$/.exec(authority)?.groups;
  if (found === undefined) throw invalid("its IPv6 address has another form than [address]:port");
  const { six, name, port } = found;
  if (six !== undefined && !isIPv6(six)) throw invalid("its IPv6 address has another form than [address]:port");
  if (name !== undefined && !/^[A-Za-z0-9._-]+$/.test(name)) {
    throw invalid("its host is empty, or has a character that no host has");
  }
  const number = port === undefined ? (scheme === "https" ? 443 : 80) : portNumber(port);
  const host = six ?? name ?? "";
  return {
    host,
    port: number,
    tls: scheme === "https",
    url: `${scheme}://${six === undefined ? host : `[${host}]`}:${number}`,
  };
}

/** Reads one or more endpoints. */
export function parseEndpoints(texts: string | readonly string[]): Endpoint[] {
  const found = (typeof texts === "string" ? [texts] : texts).map(parseEndpoint);
  if (found.length === 0) throw invalid("none is given");
  return found;
}

/** Whether nothing leaves this machine. */
export function isLoopback(endpoint: Endpoint): boolean {
  return endpoint.host === "localhost" || endpoint.host === "::1" || /^127(\.\d{1,3}){3}$/.test(endpoint.host);
}

function portNumber(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65535) throw invalid("its port is no number from 1 to 65535");
  return number;
}

function invalid(why: string): EndpointInvalid {
  return new EndpointInvalid(`The endpoint is no address of a server: ${why}. Write https://host:port.`, {
    code: "INVALID_ARGUMENT",
  });
}

import type { Guard, TokenSource } from "@jeton/client";

/** A command. */
export type Given = Record<string, unknown>;

/** Files of a server with TLS. */
export interface Tls {
  cert_file: string;
  key_file: string;
  client_ca_file: string;
}

/** A guarded service, over gRPC and over HTTP. */
export interface Server {
  grpc: string;
  http: string;
  close(): Promise<void>;
}

/** What the two flavours do in their own ways. */
export interface Flavour {
  serve(guard: Guard, tls: Tls | undefined): Promise<Server>;
  call(source: TokenSource, given: Given): Promise<object>;
}

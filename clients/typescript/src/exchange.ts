// One call of gRPC on a stream of HTTP/2.
import { type ClientHttp2Stream, type IncomingHttpHeaders, type IncomingHttpStatusHeader, constants } from "node:http2";
import type { Failure } from "./decode.js";
import { statusCode } from "./errors.js";
import { Unframer, frame } from "./frames.js";

// nghttp2 read something that is no frame.
const NGHTTP2_ERR_PROTO = -505;

/** What a call tells. `ended` comes once, and last; without a failure the call ended well. */
export interface Listener {
  message(bytes: Uint8Array): void;
  ended(failure: Failure | undefined): void;
}

/** A call that is under way. Messages that are sent in one turn of the event loop go out as one write. */
export class Exchange {
  readonly #listener: Listener;
  readonly #unframer = new Unframer();
  #stream: ClientHttp2Stream | undefined;
  #queue: Buffer[] = [];
  #planned = false;
  #halfClosed = false;
  #done = false;
  #status: Failure | undefined | "none" = "none";

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  get done(): boolean {
    return this.#done;
  }

  send(message: Uint8Array): void {
    if (this.#done || this.#halfClosed) return;
    this.#queue.push(frame(message));
    if (this.#stream === undefined || this.#planned) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      this.#flush();
    });
  }

  /** No more messages come. */
  finish(): void {
    this.#halfClosed = true;
    if (this.#stream !== undefined) this.#flush();
  }

  #flush(): void {
    if (this.#stream === undefined || this.#done || this.#stream.destroyed || this.#stream.writableEnded) return;
    const data = this.#queue.length === 1 ? this.#queue[0] : Buffer.concat(this.#queue);
    this.#queue = [];
    if (this.#halfClosed) this.#stream.end(data);
    else if (data !== undefined && data.length > 0) this.#stream.write(data);
  }

  /** Ends the call from this side. */
  cancel(failure: Failure): void {
    this.#end(failure);
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  /** The stream is there: what was sent before goes out now. `heard` is called whenever something comes. */
  begin(stream: ClientHttp2Stream, heard: () => void): void {
    this.#stream = stream;
    stream.on("response", (headers) => {
      heard();
      this.#response(headers);
    });
    stream.on("trailers", (headers) => {
      this.#status = status(headers);
    });
    stream.on("data", (chunk: Buffer) => {
      heard();
      this.#data(chunk);
    });
    stream.on("end", () => {
      if (this.#status !== "none") this.#end(this.#status);
    });
    let lost: Failure = { code: "UNAVAILABLE", message: "the connection broke" };
    stream.on("error", (error) => {
      lost = brokenBy(error);
    });
    stream.on("close", () => {
      if (this.#status !== "none") this.#end(this.#status);
      else this.#end(reset(stream.rstCode, lost));
    });
    if (this.#queue.length > 0 || this.#halfClosed) this.#flush();
  }

  #response(headers: IncomingHttpHeaders & IncomingHttpStatusHeader): void {
    if (headers["grpc-status"] !== undefined) {
      this.#status = status(headers); // a refusal without a message: these headers are its trailers
      return;
    }
    const type = headers["content-type"] ?? "";
    if (headers[":status"] === 200 && type.startsWith("application/grpc")) return;
    const http = headers[":status"] ?? 0;
    if (http === 429 || http === 502 || http === 503 || http === 504) {
      this.cancel({ code: "UNAVAILABLE", message: `a proxy answers HTTP ${http}` });
    } else {
      const message = `it answers HTTP ${http}, and no gRPC`;
      this.cancel({ code: "UNIMPLEMENTED", message, foreign: true });
    }
  }

  #data(chunk: Buffer): void {
    if (this.#done) return;
    try {
      for (const message of this.#unframer.push(chunk)) this.#listener.message(message);
    } catch (error) {
      this.cancel({ code: "INTERNAL", message: error instanceof Error ? error.message : "unknown cause" });
    }
  }

  #end(failure: Failure | undefined): void {
    if (this.#done) return;
    this.#done = true;
    this.#queue = [];
    this.#listener.ended(failure);
  }
}

function status(headers: IncomingHttpHeaders): Failure | undefined {
  const number = Number(headers["grpc-status"] ?? 2);
  if (number === 0) return undefined;
  const details = headers["grpc-status-details-bin"];
  return {
    code: statusCode(number),
    message: unescaped(String(headers["grpc-message"] ?? "")),
    details: typeof details === "string" ? Buffer.from(details, "base64") : undefined,
  };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What an error of Node's HTTP/2 means, when no answer came. */
export function brokenBy(error: Error): Failure {
  if ("errno" in error && error.errno === NGHTTP2_ERR_PROTO) {
    return { code: "UNIMPLEMENTED", message: "it speaks no HTTP/2", foreign: true };
  }
  const message = "code" in error ? `${error.message} (${String(error.code)})` : error.message;
  return { code: "UNAVAILABLE", message };
}

function reset(code: number | undefined, lost: Failure): Failure {
  if (code === constants.NGHTTP2_REFUSED_STREAM) {
    return { code: "UNAVAILABLE", message: "the server takes no more calls on this connection", unsent: true };
  }
  if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) return { code: "RESOURCE_EXHAUSTED", message: lost.message };
  return lost;
}

// The flavour of grpc-js: its servers, its clients, and Express.
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { type DescMessage, type DescService, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { type Guard, STATUS_CODES, type TokenSource } from "@jeton/client";
import { GuardedServer, tokenInterceptor, verdictOf } from "@jeton/client/grpc-js";
import { guardMiddleware, verdictOf as httpVerdictOf } from "@jeton/client/http";
import express from "express";
import { readDetails } from "#lib/decode.js";
import { echoed, verdictAsJson } from "./answers.js";
import type { Given, Server, Tls } from "./flavour.js";
import {
  type EchoRequest,
  EchoRequestSchema,
  type EchoResponse,
  EchoService,
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from "./gen/jeton/conformance/v1/echo_pb.js";

/** grpc-js's description of a service of protobuf-es. */
function definition(service: DescService): grpc.ServiceDefinition {
  const coder = (schema: DescMessage) => ({
    serialize: (message: unknown) => Buffer.from(toBinary(schema, message as never)),
    deserialize: (bytes: Buffer) => fromBinary(schema, bytes),
  });
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: false,
        responseStream: method.methodKind === "server_streaming",
        requestSerialize: coder(method.input).serialize,
        requestDeserialize: coder(method.input).deserialize,
        responseSerialize: coder(method.output).serialize,
        responseDeserialize: coder(method.output).deserialize,
      },
    ]),
  );
}

const ECHO = definition(EchoService);

const handlers: grpc.UntypedServiceImplementation = {
  echo(call: grpc.ServerUnaryCall<EchoRequest, EchoResponse>, callback: grpc.sendUnaryData<EchoResponse>) {
    callback(null, echoed(call.request.text, verdictOf(call)));
  },
  watch(call: grpc.ServerWritableStream<WatchRequest, WatchResponse>) {
    let number = 0n;
    const timer = setInterval(() => {
      number += 1n;
      call.write(create(WatchResponseSchema, { number }));
    }, 50);
    call.on("cancelled", () => clearInterval(timer));
  },
};

export async function serve(guard: Guard, tls: Tls | undefined): Promise<Server> {
  const server = new GuardedServer(guard);
  server.addService(ECHO, handlers);
  const credentials =
    tls === undefined
      ? grpc.ServerCredentials.createInsecure()
      : grpc.ServerCredentials.createSsl(
          readFileSync(tls.client_ca_file),
          [{ cert_chain: readFileSync(tls.cert_file), private_key: readFileSync(tls.key_file) }],
          true,
        );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const app = express();
  app.use(guardMiddleware(guard));
  app.get("/echo", (request, response) => {
    response.json(verdictAsJson(httpVerdictOf(request)));
  });
  const http = await new Promise<ReturnType<typeof app.listen>>((resolve) => {
    const made = app.listen(0, "127.0.0.1", () => resolve(made));
  });
  return {
    grpc: `127.0.0.1:${port}`,
    http: `127.0.0.1:${(http.address() as AddressInfo).port}`,
    close: async () => {
      server.forceShutdown();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

export async function call(source: TokenSource, given: Given): Promise<object> {
  const target = String(given["target"]).replace("http://", "");
  const client = new grpc.Client(target, grpc.credentials.createInsecure(), {
    interceptors: [tokenInterceptor(source)],
  });
  try {
    return given["method"] === "Echo" ? await echo(client, given) : await watch(client, given);
  } finally {
    client.close();
  }
}

function echo(client: grpc.Client, given: Given): Promise<object> {
  const method = ECHO["echo"];
  if (method === undefined) throw new Error("there is no echo");
  const deadline = new Date(Date.now() + Number(given["deadline_s"] ?? 60) * 1000);
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      create(EchoRequestSchema, { text: "hello" }),
      new grpc.Metadata(),
      { deadline },
      (error, answer?: EchoResponse) => {
        if (error !== null) resolve(ended(error, 0));
        else resolve({ code: "OK", reason: "", domain: "", message: "", subject: answer?.subject, jti: answer?.jti });
      },
    );
  });
}

function watch(client: grpc.Client, given: Given): Promise<object> {
  const method = ECHO["watch"];
  if (method === undefined) throw new Error("there is no watch");
  let messages = 0;
  return new Promise((resolve) => {
    const { path, requestSerialize, responseDeserialize } = method;
    const request = create(WatchRequestSchema);
    const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    stream.on("data", () => {
      messages += 1;
      if (messages !== given["messages"]) return;
      resolve({ code: "OK", messages });
      stream.cancel();
    });
    stream.on("end", () => resolve({ code: "OK", messages }));
    stream.on("error", (error: grpc.ServiceError) => resolve(ended(error, messages)));
  });
}

function ended(error: grpc.ServiceError, messages: number): object {
  const bytes = error.metadata.get("grpc-status-details-bin")[0];
  const { reason = "", domain = "" } = readDetails(bytes instanceof Buffer ? bytes : undefined).info ?? {};
  return { code: STATUS_CODES[error.code], message: error.details, reason, domain, messages };
}

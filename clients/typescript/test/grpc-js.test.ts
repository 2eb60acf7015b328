import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type CallOptions,
  Client as Channel,
  type ClientDuplexStream,
  type ClientUnaryCall,
  Server,
  ServerCredentials,
  type ServiceError,
  credentials,
  status,
} from "@grpc/grpc-js";
import { TokenSource } from "@jeton/client";
import { tokenInterceptor } from "@jeton/client/grpc-js";
import { FakeJeton } from "@jeton/client/testing";

const ORDERS = { subject: "svc:orders", audiences: ["payments"], ttlMs: 60_000 };
const same = (bytes: Buffer) => bytes;
const coders = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
const UNARY = "/test.Echo/Unary";
const STREAM = "/test.Echo/Stream";

/** A server that answers what it gets, and a channel whose calls carry the token of `source`. */
async function served(source: TokenSource) {
  const server = new Server();
  server.addService(
    {
      unary: { path: UNARY, requestStream: false, responseStream: false, ...coders },
      stream: { path: STREAM, requestStream: true, responseStream: true, ...coders },
    },
    {
      unary: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => done(null, call.request),
      stream: (call: NodeJS.ReadWriteStream) => void call.pipe(call),
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const channel = new Channel(`127.0.0.1:${port}`, credentials.createInsecure(), {
    interceptors: [tokenInterceptor(source)],
  });
  const unary = (options: CallOptions, begun: (call: ClientUnaryCall) => void = () => {}) =>
    new Promise<string>((resolve) => {
      const message = Buffer.from("hello");
      const call = channel.makeUnaryRequest(UNARY, same, same, message, options, (error, answer) =>
        resolve(error === null ? String(answer) : (status[error.code] ?? "")),
      );
      begun(call);
    });
  const stream = (options: CallOptions, begun: (call: ClientDuplexStream<Buffer, Buffer>) => void = () => {}) =>
    new Promise<string>((resolve) => {
      const call = channel.makeBidiStreamRequest(STREAM, same, same, options);
      let text = "";
      call.on("data", (bytes: Buffer) => {
        text += String(bytes);
      });
      call.on("error", (error: ServiceError) => resolve(status[error.code] ?? ""));
      call.on("end", () => resolve(text));
      call.write(Buffer.from("hel"));
      call.end(Buffer.from("lo"));
      begun(call);
    });
  const close = async () => {
    channel.close();
    server.forceShutdown();
    await source.close();
  };
  return { calls: [unary, stream], close };
}

const after = (ms: number) => ({ deadline: Date.now() + ms });

test("a call ends by its deadline while there is no token", async () => {
  const fake = new FakeJeton();
  fake.setAway(true);
  const source = new TokenSource(fake.client(), ORDERS);
  const { calls, close } = await served(source);
  const longer = source.get().then(
    () => "a token",
    () => "the end of a wait of 10 s",
  );
  for (const call of calls) {
    assert.equal(await Promise.race([call(after(50)), longer]), "UNAVAILABLE");
    assert.equal(await Promise.race([call(after(-1000)), longer]), "UNAVAILABLE");
  }
  await close();
  await longer;
});

test("a call whose deadline has passed ends though there is a token", async () => {
  const source = new TokenSource(new FakeJeton().client(), ORDERS);
  await source.get();
  const { calls, close } = await served(source);
  for (const call of calls) assert.equal(await call(after(-1000)), "DEADLINE_EXCEEDED");
  await close();
});

test("a call that waits for a token can be cancelled", async () => {
  const fake = new FakeJeton();
  fake.setAway(true);
  const source = new TokenSource(fake.client(), ORDERS);
  const { calls, close } = await served(source);
  for (const call of calls) assert.equal(await call({}, (begun) => begun.cancel()), "CANCELLED");
  await close();
});

test("a call that waited goes on when a token comes", async () => {
  const fake = new FakeJeton();
  fake.setAway(true);
  const source = new TokenSource(fake.client(), ORDERS);
  const { calls, close } = await served(source);
  for (const call of calls) {
    const waiting = call(after(60_000));
    fake.setAway(false);
    await fake.advance(60_000);
    assert.equal(await waiting, "hello");
    await fake.advance(60_000);
    fake.setAway(true);
    await fake.advance(60_000);
    assert.equal(source.current, undefined);
  }
  await close();
});

// Measures the guard beside an empty call of grpc-js to the same server, and the look-up of a token. `run` runs it.
import { readFileSync } from "node:fs";
import * as grpc from "@grpc/grpc-js";
import { Client, Guard, TokenSource } from "@jeton/client";

const ROUNDS = 31;
const ROUND_MS = Number(process.env.BENCH_ROUND_MS ?? 150);
const CALLERS = 256; // under load
// What is to be reached.
const ONE_BY_ONE_BAR = 0.9;
const STREAM_BAR = 5;

const dev = JSON.parse(readFileSync(process.env.DEV_JSON, "utf8"));
const client = new Client({ endpoints: `http://${dev.public}`, apiKey: dev.clients["dev-service"] });
const source = new TokenSource(client, { subject: "svc:bench", audiences: ["orders"] });
const unaryGuard = new Guard(client, { audiences: ["orders"] });
const streamGuard = new Guard(client, { audiences: ["orders"], mode: "stream" });
const channel = new grpc.Client(dev.public, grpc.credentials.createInsecure());

const NOTHING = Buffer.alloc(0);
const serialize = () => NOTHING;
const deserialize = (bytes) => bytes;
const empty = () =>
  new Promise((resolve, reject) => {
    channel.makeUnaryRequest("/grpc.health.v1.Health/Check", serialize, deserialize, NOTHING, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
const presented = { authorization: [await source.authorization()] };
const unary = () => unaryGuard.admit(presented);
const stream = () => streamGuard.admit(presented);

async function callsPerSecond(call, callers) {
  let calls = 0;
  const begun = performance.now();
  const end = begun + ROUND_MS;
  const caller = async () => {
    while (performance.now() < end) {
      await call();
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (calls / (performance.now() - begun)) * 1000;
}

function median(values) {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
}

/** Prints the medians of the rate, and of the ratio within each round. */
function show(name, rates, emptyRates, bar) {
  const ratio = median(rates.map((rate, round) => rate / emptyRates[round]));
  const told = `${ratio.toFixed(2)} × the empty call; bar ≥ ${bar}`;
  console.log(`${name.padEnd(42)}${median(rates).toFixed(0).padStart(9)} /s    ${told}`);
}

const measures = [
  { call: empty, callers: 1, rates: [] },
  { call: unary, callers: 1, rates: [] },
  { call: stream, callers: CALLERS, rates: [] },
];
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const one of round % 2 === 0 ? measures : measures.toReversed()) {
    const rate = await callsPerSecond(one.call, one.callers);
    if (round > 0) one.rates.push(rate); // the first one warms up
  }
}
const [none, single, many] = measures.map(({ rates }) => rates);
console.log(`${"empty call of grpc-js, one by one".padEnd(42)}${median(none).toFixed(0).padStart(9)} /s`);
show("Guard, one by one", single, none, ONE_BY_ONE_BAR);
show(`Guard, stream mode, ${CALLERS} at a time`, many, none, STREAM_BAR);

const lookUps = [];
for (let round = 0; round < ROUNDS; round += 1) {
  const begun = performance.now();
  for (let at = 0; at < 1_000_000; at += 1) if (source.current === undefined) throw new Error("there is no token");
  lookUps.push(performance.now() - begun);
}
console.log(`${"TokenSource, look-up".padEnd(42)}${median(lookUps).toFixed(1).padStart(9)} ns`);

channel.close();
unaryGuard.close();
streamGuard.close();
await source.close();
client.close();

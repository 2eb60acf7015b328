// Deadlines and repetition, from clients/service_config.json: the same in all languages.
import { SERVICE_CONFIG } from "./gen/service-config.js";

/** How a method is called. */
export interface Policy {
  readonly timeoutMs: number;
  /** A second call does no harm. */
  readonly repeats: boolean;
  /** How often all endpoints are asked. */
  readonly rounds: number;
  readonly firstPauseMs: number;
  readonly factor: number;
  readonly longestPauseMs: number;
}

interface MethodConfig {
  name: readonly { service: string; method?: string }[];
  timeout: string;
  retryPolicy?: { maxAttempts: number; initialBackoff: string; maxBackoff: string; backoffMultiplier: number };
}

function milliseconds(text: string): number {
  return Number(text.replace(/s$/, "")) * 1000;
}

function policy({ timeout, retryPolicy }: MethodConfig): Policy {
  return {
    timeoutMs: milliseconds(timeout),
    repeats: retryPolicy !== undefined,
    rounds: retryPolicy?.maxAttempts ?? 1,
    firstPauseMs: milliseconds(retryPolicy?.initialBackoff ?? "0s"),
    factor: retryPolicy?.backoffMultiplier ?? 1,
    longestPauseMs: milliseconds(retryPolicy?.maxBackoff ?? "0s"),
  };
}

const POLICIES = new Map<string, Policy>();
for (const config of SERVICE_CONFIG.methodConfig as readonly MethodConfig[]) {
  for (const { service, method } of config.name) POLICIES.set(`${service}/${method ?? ""}`, policy(config));
}
const FALLBACK = policy({ name: [], timeout: "10s" });

/** Returns the policy of a method; one of its own comes before that of its service. */
export function policyOf(service: string, method: string): Policy {
  return POLICIES.get(`${service}/${method}`) ?? POLICIES.get(`${service}/`) ?? FALLBACK;
}

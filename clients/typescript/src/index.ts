export {
  Client,
  type CallOptions,
  type Calls,
  type ClientOptions,
  type IssueOptions,
  type RevokeOptions,
  type ValidateOptions,
} from "./client.js";
export * from "./errors.js";
export * from "./reasons.js";
export { fetchWithToken } from "./fetch.js";
export { Guard, type Admitted, type GuardOptions, type JudgeOptions, type Presented } from "./guard.js";
export { type HttpAnswer, Refused } from "./judging.js";
export type { Logger } from "./logger.js";
export { type SourceRequest, Token, type TokenEvent } from "./renewal.js";
export { Secret } from "./secret.js";
export type { TokenSourceOptions } from "./source-options.js";
export type { IssuedToken, RefreshCredential, Verdict } from "./token.js";
export { type GetOptions, TokenSource } from "./token-source.js";

/** Where the library writes its few warnings: `console`, unless it is given another. */
export interface Logger {
  warn(message: string): void;
  error(message: string): void;
}

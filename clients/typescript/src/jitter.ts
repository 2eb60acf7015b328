/** Milliseconds: a random time up to the first pause, doubled by each further failure in a row, and at most the longest. */
export function fullJitter(firstMs: number, longestMs: number, failures: number): number {
  const longest = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.random() * longest;
}

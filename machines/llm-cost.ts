/**
 * What a question may cost at most, and what it did cost. Money is whole nano-dollars, so that what is reserved and given
 * back adds up to nothing: 0.10 dollars for a million tokens are 100 nano-dollars a token.
 */

/** Dollars for a million tokens. */
export interface Price {
  input: number;
  output: number;
  /** Left out: as `input`. */
  cache_read?: number;
  cache_write?: number;
  /** Of prompts with more tokens than `over`. */
  long?: { over: number; input: number; output: number };
}

export interface Usage {
  /** Not from and not into a cache. */
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite: number;
}

export interface Spend {
  tokens: number;
  nanoUsd: number;
}

export const NOTHING_SPENT: Spend = Object.freeze({ tokens: 0, nanoUsd: 0 });
export const FREE: Price = Object.freeze({ input: 0, output: 0 });
export const NANO = 1e9;

/** Tokens of a prompt, on the high side: most texts have three to four bytes a token, and a provider adds its own. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 2) + 256;
}

/** The worst case. `promptBytes` counts the schema too. */
export function reserveOf(price: Price, promptBytes: number, maxOutputTokens: number): Spend {
  const input = estimateTokens(promptBytes);
  const { input: inputPrice, output: outputPrice } = tierOf(price, input);
  const dearest = Math.max(inputPrice, price.cache_write ?? 0);
  return {
    tokens: input + maxOutputTokens,
    nanoUsd: nano(input, dearest) + nano(maxOutputTokens, outputPrice),
  };
}

export function costOf(price: Price, { input, output, cacheRead, cacheWrite }: Usage): Spend {
  const prompt = input + cacheRead + cacheWrite;
  const tier = tierOf(price, prompt);
  return {
    tokens: prompt + output,
    nanoUsd:
      nano(input, tier.input) +
      nano(output, tier.output) +
      nano(cacheRead, price.cache_read ?? tier.input) +
      nano(cacheWrite, price.cache_write ?? tier.input),
  };
}

export const plus = (a: Spend, b: Spend): Spend => ({
  tokens: a.tokens + b.tokens,
  nanoUsd: a.nanoUsd + b.nanoUsd,
});

export const minus = (a: Spend, b: Spend): Spend => ({
  tokens: a.tokens - b.tokens,
  nanoUsd: a.nanoUsd - b.nanoUsd,
});

function tierOf(price: Price, promptTokens: number): { input: number; output: number } {
  return price.long !== undefined && promptTokens > price.long.over ? price.long : price;
}

/** Rounded up: a part of a nano-dollar is never forgotten. */
const nano = (tokens: number, usdPerMillion: number): number =>
  Math.ceil(Math.round(tokens * usdPerMillion * 1e6) / 1e3);

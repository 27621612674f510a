/**
 * SHA-256 for what a worker imports. node:crypto takes some 4 ms to load, which would delay the first step of every new
 * worker, so it is loaded when something is hashed first: that is when the step has ended.
 */
export function sha256(text: string): string {
  return process.getBuiltinModule('node:crypto').createHash('sha256').update(text).digest('hex');
}

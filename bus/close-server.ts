import type { Server } from 'node:http';

/** For requests that are under way at a stop. */
const CLOSE_GRACE_MS = 1000;

/** Answers what is under way, for a moment, then closes. */
export async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(timer);
}

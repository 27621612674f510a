/**
 * Measures one row in a process of its own, so that no row inherits another one's heap or compiled code.
 * Arguments: the row's name, `full` or `quick`, a folder to work in. Answers its parent with one message, a RowResult.
 */
import { openBench, verdictOf } from './harness.ts';
import type { Row } from './harness.ts';
import type { RowResult } from './report.ts';

const [name = '', size, root = ''] = process.argv.slice(2);
const bench = openBench({ quick: size === 'quick', root });
const result: RowResult = {
  name,
  title: name,
  figures: [],
  error: null,
  profile: null,
  tookMs: 0,
};
const startedAt = performance.now();
process.on('disconnect', () => process.exit(1));
try {
  const { row } = (await import(`./rows/${name}.ts`)) as { row: Row };
  result.title = row.title;
  result.figures = await row.measure(bench);
  if (result.figures.some((figure) => verdictOf(figure) === 'miss'))
    result.profile = await row.profile(bench);
} catch (error) {
  result.error = error instanceof Error ? (error.stack ?? error.message) : String(error);
}
result.tookMs = performance.now() - startedAt;
process.send?.(result, () => process.exit(0));

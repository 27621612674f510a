/** The examples are missions like any other: valid, and completed by a real node with the output they promise. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scanCell } from '../cells/load.ts';
import { validate } from '../cells/validate.ts';
import { stepsOf, verifyDemo } from '../cli/verify-demo.ts';
import { eventually } from './support/eventually.ts';
import { copyExample, EXAMPLES, readObject, TEMPLATE } from './support/example.ts';
import { startNode } from './support/node.ts';

describe('examples/release-notes', () => {
  test('is a valid cell with all that the demo shows: fan-out, every retry policy, a limited auditor', () => {
    const { problems, changes } = scanCell(TEMPLATE);
    expect(problems).toEqual([]);
    expect(changes.filter(({ kind }) => kind === 'agent')).toHaveLength(4);
    const tasks = changes.filter(({ kind }) => kind === 'task').map(({ content }) => content);
    expect(tasks).toHaveLength(8);
    const steps = tasks.flatMap((task) => task?.['steps'] as { retry: string }[]);
    expect(steps).toHaveLength(stepsOf(TEMPLATE).length);
    expect(new Set(steps.map(({ retry }) => retry))).toEqual(new Set(['safe', 'probe', 'never']));
  });

  test.each(readdirSync(join(TEMPLATE, 'scripts')))('%s is a script that sh can read', (name) => {
    const { status, stderr } = spawnSync('sh', ['-n', join(TEMPLATE, 'scripts', name)]);
    expect([status, String(stderr)]).toEqual([0, '']);
  });

  test('is completed by a node, and its notes agree with an independent computation', async () => {
    const at = await startNode();
    const cellDir = at.path('release-notes');
    copyExample(cellDir);
    await eventually(
      () => {
        expect(at.cell('release-notes').status).toBe('completed');
        const { revivalLedger } = at.node.layout;
        const run = { template: TEMPLATE, cellDir, cellId: 'release-notes', revivalLedger };
        const checks = verifyDemo({ ...run, killedAgent: null });
        expect(checks.filter(({ problem }) => problem !== null)).toEqual([
          { what: 'the killed agent was revived', problem: 'no agent was killed' },
        ]);
      },
      { timeoutMs: 25_000 },
    );
  });
});

describe('examples/hello.json', () => {
  test('is a valid drop', () => {
    const file = join(EXAMPLES, 'hello.json');
    expect(validate('cell-drop', readObject(file), { path: file })).toMatchObject({ ok: true });
  });

  test('becomes a cell and is completed', async () => {
    const at = await startNode();
    copyFileSync(join(EXAMPLES, 'hello.json'), join(at.missions, 'hello.json'));
    const cellId = await eventually(() => {
      const [cell] = at.node.status().cells;
      expect(cell?.mission_name).toBe('Hello');
      return cell?.cell_id ?? '';
    });
    await eventually(() => expect(at.cell(cellId).status).toBe('completed'), { timeoutMs: 15_000 });
    expect(at.text(cellId, 'artifacts/greeting.txt')).toBe('hello from writer\n');
    expect(at.text(cellId, 'artifacts/words.txt').trim()).toBe('3');
  });
});

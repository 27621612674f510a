/** Which missions folder is meant. */
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { chooseMissions, makeMissions, requireMissions } from '../../cli/missions.ts';
import { missionsFolder } from '../support/cli.ts';

const before = process.env['LAZARUS_MISSIONS'];
afterEach(() => {
  if (before === undefined) delete process.env['LAZARUS_MISSIONS'];
  else process.env['LAZARUS_MISSIONS'] = before;
});

describe('the missions folder', () => {
  test('is the one named by the option, made absolute', () => {
    process.env['LAZARUS_MISSIONS'] = '/elsewhere';
    expect(chooseMissions('some/folder')).toEqual({
      dir: resolve('some/folder'),
      because: 'named by --missions',
    });
  });

  test('else the one named by the variable; an empty one is unset', () => {
    process.env['LAZARUS_MISSIONS'] = '/elsewhere';
    expect(chooseMissions(undefined)).toEqual({
      dir: '/elsewhere',
      because: 'named by LAZARUS_MISSIONS',
    });
    process.env['LAZARUS_MISSIONS'] = '';
    expect(['/var/missions', resolve('var/missions')]).toContain(chooseMissions(undefined).dir);
  });

  test('is made by verbs that begin something, and missed by those that look', () => {
    const dir = join(missionsFolder(), 'a/b');
    expect(() => requireMissions(chooseMissions(dir))).toThrow('there is no missions folder');
    expect(makeMissions(dir).dir).toBe(dir);
    expect(() => requireMissions(chooseMissions(dir))).not.toThrow();
  });
});

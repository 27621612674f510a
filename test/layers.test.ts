/** Imports point at decisions (DESIGN 2): this test reads every import line and holds the layers. */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');

/** What a folder may import: folders of ours, and packages (`node:` is listed where it is allowed). */
const LAYERS: Record<string, { folders: string[]; packages: string[] | 'any' }> = {
  machines: { folders: ['machines'], packages: ['xstate'] },
  cells: {
    folders: ['machines', 'cells'],
    packages: ['node:', 'ajv', 'ajv-formats', 'jsonc-parser', 'yaml'],
  },
  bus: { folders: ['machines', 'bus'], packages: 'any' },
  actors: { folders: ['machines', 'cells', 'bus', 'actors'], packages: 'any' },
  cli: { folders: ['machines', 'cells', 'bus', 'actors', 'cli'], packages: 'any' },
};

/** Packages that only one file may know, so that their successor is one file away. */
const ONLY_IN: Record<string, string> = {
  nats: 'bus/nats-client.ts',
  '@redis/client': 'bus/redis.ts',
  yaml: 'cells/yaml-file.ts',
};

interface Import {
  file: string;
  specifier: string;
}

function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|js|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(pattern)].map((match) => ({
    file,
    specifier: match[1] ?? match[2] ?? match[3] ?? '',
  }));
}

function problemOf({ file, specifier }: Import, layer: string): string | undefined {
  const { folders, packages } = LAYERS[layer] ?? { folders: [], packages: [] };
  if (specifier.startsWith('.')) {
    const target = relative(ROOT, resolve(ROOT, dirname(file), specifier)).split('/')[0] ?? '';
    return folders.includes(target) ? undefined : `${file} imports ${specifier}`;
  }
  const bare = !specifier.startsWith('node:') && builtinModules.includes(specifier);
  const isAllowed =
    packages === 'any' ||
    packages.some(
      (name) =>
        specifier === name ||
        (name === 'node:' && specifier.startsWith(name)) ||
        specifier.startsWith(`${name}/`),
    );
  return isAllowed && !bare ? undefined : `${file} imports ${specifier}`;
}

describe('layers', () => {
  test.each(Object.keys(LAYERS))('%s imports only what it may', (layer) => {
    const files = filesIn(layer);
    if (layer !== 'bus') expect(files.length).toBeGreaterThan(0);
    const problems = files.flatMap(importsOf).map((item) => problemOf(item, layer));
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
  });

  test.each(Object.entries(ONLY_IN))('only one file knows the package %s', (name, only) => {
    const knowing = Object.keys(LAYERS)
      .flatMap(filesIn)
      .flatMap(importsOf)
      .filter(({ specifier }) => specifier === name);
    expect(knowing.filter(({ file }) => file !== only)).toEqual([]);
  });

  test('machines know no clock, no chance and no I/O', () => {
    const impure =
      /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|setTimeout|setInterval|process\.|fetch\()/;
    const withoutComments = (file: string): string =>
      readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(filesIn('machines').filter((file) => impure.test(withoutComments(file)))).toEqual([]);
  });

  test('the test itself sees imports of every form', () => {
    const own = importsOf('test/layers.test.ts').map(({ specifier }) => specifier);
    expect(own).toContain('node:fs');
    expect(
      problemOf({ file: 'machines/x.ts', specifier: '../cells/load.ts' }, 'machines'),
    ).toBeDefined();
    expect(problemOf({ file: 'machines/x.ts', specifier: 'node:fs' }, 'machines')).toBeDefined();
    expect(problemOf({ file: 'bus/x.ts', specifier: '../cells/load.ts' }, 'bus')).toBeDefined();
  });
});

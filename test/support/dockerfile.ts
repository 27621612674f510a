/** A Dockerfile as it stands there: the last stage's instructions, by which an image is laid out in a folder and run. */
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { Copy, DockerfileParser, Env, JSONInstruction } from 'dockerfile-ast';
import type { Instruction } from 'dockerfile-ast';
import { ROOT } from './compose.ts';

export interface Image {
  /** The last `FROM`. */
  base: string;
  workdir: string;
  user: string | null;
  env: Record<string, string>;
  entrypoint: string[];
  cmd: string[];
  /** What it asks to see that it is well. */
  healthcheck: string[];
  /** From the folder it is built in; `from` another stage is not among them. */
  copies: { source: string; target: string }[];
}

export const DOCKERFILE = join(ROOT, 'Dockerfile');

export function readImage(text = readFileSync(DOCKERFILE, 'utf8')): Image {
  const all = DockerfileParser.parse(text).getInstructions();
  const start = all.findLastIndex((instruction) => instruction.getKeyword() === 'FROM');
  const stage = all.slice(start);
  const last = (keyword: string): Instruction | undefined =>
    stage.findLast((instruction) => instruction.getKeyword() === keyword);
  return {
    base: last('FROM')?.getArguments()[0]?.getValue() ?? '',
    workdir: last('WORKDIR')?.getArguments()[0]?.getValue() ?? '/',
    user: last('USER')?.getArguments()[0]?.getValue() ?? null,
    env: Object.fromEntries(
      stage
        .filter((instruction) => instruction instanceof Env)
        .flatMap((instruction) => instruction.getProperties())
        .map((property) => [property.getName(), property.getValue() ?? '']),
    ),
    entrypoint: words(last('ENTRYPOINT')),
    cmd: words(last('CMD')),
    healthcheck: healthcheck(last('HEALTHCHECK')),
    copies: stage.filter((instruction) => instruction instanceof Copy).flatMap(copiesOf),
  };
}

function words(instruction: Instruction | undefined): string[] {
  if (!(instruction instanceof JSONInstruction)) return [];
  const strings = instruction.getJSONStrings().map((text) => text.getJSONValue());
  if (strings.length === 0) throw new Error(`${instruction.getKeyword()} is not in its JSON form`);
  return strings;
}

/** dockerfile-ast gives no JSON of what stands behind `HEALTHCHECK ... CMD`. */
function healthcheck(instruction: Instruction | undefined): string[] {
  const text = instruction?.getArgumentsContent() ?? '';
  return JSON.parse(text.slice(text.indexOf('['))) as string[];
}

function copiesOf(instruction: Copy): { source: string; target: string }[] {
  if (instruction.getFromFlag() !== null) return [];
  const places = instruction.getArguments().map((argument) => argument.getValue());
  const target = places.at(-1) ?? '';
  return places.slice(0, -1).map((source) => ({ source, target }));
}

/** What of this checkout gets to whoever builds, by .dockerignore; which has to be a list of what is let through. */
export function buildContext(): string[] {
  const lines = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (lines[0] !== '*') throw new Error('.dockerignore does not begin with *');
  return lines.slice(1).map((line) => {
    if (/^![\w.-]+$/.test(line)) return line.slice(1);
    throw new Error(`.dockerignore: ${line} is not one more name that is let through`);
  });
}

/** As `docker build` would: what is copied, and those packages that `npm ci` leaves in. */
export function layOut(image: Image, folder: string): void {
  const allowed = buildContext();
  for (const { source, target } of image.copies) {
    if (!allowed.includes(source)) throw new Error(`.dockerignore hides ${source}`);
    const to = target.endsWith('/') ? join(folder, target, source) : join(folder, target);
    if (isAbsolute(target)) throw new Error(`COPY to ${target}: only below WORKDIR is laid out`);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(join(ROOT, source), to, { recursive: true });
  }
  for (const place of productionPackages()) {
    mkdirSync(dirname(join(folder, place)), { recursive: true });
    symlinkSync(join(ROOT, place), join(folder, place));
  }
}

/** `npm ci --omit=dev --omit=optional`; a package inside another comes with that one. */
export function productionPackages(): string[] {
  interface Locked {
    dev?: boolean;
    optional?: boolean;
    devOptional?: boolean;
  }
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  return Object.entries(lock.packages)
    .filter(([, { dev, optional, devOptional }]) => !dev && !optional && !devOptional)
    .map(([place]) => place)
    .filter((place) => /^node_modules\/(?:@[^/]+\/)?[^/]+$/.test(place));
}

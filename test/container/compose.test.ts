/**
 * docker-compose.yml without a Docker engine: it fits the Compose specification's own schema, keeps our rules for
 * containers, and what it tells nats and redis is run by the real servers, health checks included.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { validate as dockerfileProblems } from 'dockerfile-utils';
import { connect } from 'nats';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../support/cell-files.ts';
import { COMPOSE_FILE, parseCompose, readCompose, variablesOf } from '../support/compose.ts';
import type { Compose } from '../support/compose.ts';
import {
  composedNats,
  composedRedis,
  hasProgram,
  natsHealth,
  PASSWORDS,
  redisHealth,
} from '../support/compose-servers.ts';
import { eventually } from '../support/eventually.ts';
import { WireClient } from '../support/nats-wire.ts';
import { natsContent } from './nats-content.ts';

const text = readFileSync(COMPOSE_FILE, 'utf8');
const compose = readCompose(PASSWORDS);
const services = Object.entries(compose.services);

function specification(): (value: unknown) => unknown[] {
  const file = join(import.meta.dirname, 'compose-spec/compose-spec.json');
  const { $schema: _, ...schema } = JSON.parse(readFileSync(file, 'utf8')) as object & {
    $schema: string; // of draft 7, by an address that ajv does not know it by
  };
  const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(
    schema,
  );
  return (value) => (validate(value) ? [] : (validate.errors ?? []));
}

describe('docker-compose.yml', () => {
  test('fits the schema of the Compose specification, before and after variables are put in', () => {
    const problems = specification();
    expect(problems(parseCompose())).toEqual([]);
    expect(problems(compose)).toEqual([]);
    const misspelt = { services: { lazarus: { image: 'lazarus', healtcheck: {} } } };
    expect(problems(misspelt)).not.toEqual([]);
  });

  test('has nats, redis, ollama and lazarus', () => {
    expect(Object.keys(compose.services).sort()).toEqual(['lazarus', 'nats', 'ollama', 'redis']);
  });

  test.each(services)('%s: a health check, no root, no rights, bounded', (_name, service) => {
    expect(service.healthcheck?.test[0]).toBe('CMD');
    expect(service.user).toMatch(/^(?:[1-9]\d*:[1-9]\d*|redis)$/);
    expect(service).toMatchObject({
      restart: 'unless-stopped',
      init: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      logging: { driver: 'local' },
    });
    for (const power of ['privileged', 'network_mode', 'cap_add', 'pid', 'ipc', 'devices'])
      expect(service).not.toHaveProperty(power);
    // Compose copies its files into the container, and cannot into one that is read-only (docker/compose#12031).
    expect(service.read_only ?? false).toBe(service.configs === undefined);
  });

  test.each(services)('%s: whatever port it opens, it opens on loopback', (_name, service) => {
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  test.each(services)('%s: what it keeps lies in a volume that is declared', (of, service) => {
    expect(service.volumes).toHaveLength(of === 'lazarus' ? 2 : 1);
    for (const volume of service.volumes ?? []) {
      const [name = '', path] = volume.split(':');
      expect(compose.volumes).toHaveProperty(name);
      expect(path).toMatch(/^\/[a-z/]+$/);
    }
  });

  const built = services.flatMap(([name, { build, user = '', volumes = [] }]) =>
    typeof build === 'object' ? [{ name, dockerfile: build.dockerfile_inline, user, volumes }] : [],
  );
  test.each(built)(
    '$name: the Dockerfile in it is one, and gives its user what the volume begins with',
    ({ dockerfile, user, volumes: [volume = ''] }) => {
      expect(dockerfileProblems(dockerfile)).toEqual([]);
      const [[uid, gid], [, path]] = [user.split(':'), volume.split(':')];
      expect(dockerfile).toContain(`install -d -o ${uid} -g ${gid} -m 0700 ${path}\n`);
      expect(dockerfile).toContain(`USER ${user}\n`);
    },
  );

  test('given a folder and an owner for the missions, then those are used', () => {
    const folders = { LAZARUS_MISSIONS_DIR: './var/missions', LAZARUS_RUNTIME_DIR: '/opt/homelab' };
    const where = { ...folders, LAZARUS_UID: '501', LAZARUS_GID: '20' };
    const { lazarus } = readCompose({ ...PASSWORDS, ...where }).services;
    const volumes = ['./var/missions:/var/missions', '/opt/homelab:/opt/homelab'];
    expect(lazarus).toMatchObject({ user: '501:20', volumes });
  });

  test.each(Object.keys(PASSWORDS))('without %s it says where to read on', (name) => {
    expect(() => readCompose({ ...PASSWORDS, [name]: '' })).toThrow(
      `required variable ${name} is missing a value: see the top of docker-compose.yml`,
    );
  });

  test.skipIf(!hasProgram('openssl'))(
    'the line at its top makes every password, for its user alone',
    () => {
      const folder = temporaryFolder();
      const line = /^# {3}(\(umask .*)$/m.exec(text)?.[1] ?? '';
      const { status } = spawnSync('sh', ['-c', `${line} && ls -l .env`], { cwd: folder });
      expect(status).toBe(0);
      const made = readFileSync(join(folder, '.env'), 'utf8').trim().split('\n');
      expect(made.map((entry) => entry.replace(/=.*/, '')).sort()).toEqual(
        Object.keys(PASSWORDS).sort(),
      );
      expect(new Set(made.map((entry) => /=([0-9a-f]{64})$/.exec(entry)?.[1])).size).toBe(
        made.length,
      );
      const ports = ['LAZARUS_HTTP_PORT', 'NATS_PORT', 'REDIS_PORT'];
      const lazarus = [
        'EXECUTOR',
        'HTTP_ALLOWED_HOSTS',
        'GID',
        'MISSIONS_DIR',
        'RUNTIME_DIR',
        'UID',
      ];
      const planning = ['ANTHROPIC_API_KEY', 'COOLDOWN_SECONDS', 'NODE_NAME', 'OLLAMA_MODEL'];
      const others = [...lazarus.map((name) => `LAZARUS_${name}`), ...ports, ...planning];
      expect(variablesOf(text)).toEqual([...Object.keys(PASSWORDS), ...others].sort());
    },
  );
});

describe('its nats', () => {
  test('gives each user what the server has that the runtime starts itself', async () => {
    const { configs } = parseCompose() as Compose;
    const hint = 'write it anew: node test/container/nats-content.ts';
    expect(configs['nats']?.content, hint).toBe(await natsContent());
  });

  test.skipIf(!hasProgram('wget'))(
    'is healthy while it runs, and takes nobody without a password',
    async () => {
      const nats = await composedNats(compose);
      await eventually(() => expect(natsHealth(compose, nats)).toBe(0));
      await expect(connect({ servers: nats.url })).rejects.toThrow(/Authorization Violation/i);
      const password = PASSWORDS['NATS_AGENT_PASSWORD'] ?? '';
      const agent = await WireClient.open({ url: nats.url, user: 'agent', password });
      agent.publish('missions.m.events', '{}');
      await agent.flush();
      expect(agent.errors).toEqual(['Permissions Violation for Publish to "missions.m.events"']);
      await nats.stop();
      expect(natsHealth(compose, nats)).not.toBe(0);
    },
  );
});

describe('its redis', () => {
  test('is healthy while it runs and the password is right', async () => {
    const redis = await composedRedis(compose);
    await eventually(() => expect(redisHealth(compose, redis)).toBe(0));
    const wrong = readCompose({ ...PASSWORDS, REDIS_PASSWORD: 'another' });
    expect(redisHealth(wrong, redis)).not.toBe(0);
    await redis.stop();
    expect(redisHealth(compose, redis)).not.toBe(0);
  });
});

test('ollama is asked by its own program, the only one that its image surely has', () => {
  expect(compose.services['ollama']?.healthcheck?.test).toEqual(['CMD', 'ollama', 'list']);
});

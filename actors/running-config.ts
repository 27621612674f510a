/**
 * The configuration of a running node: what is in force, what waits for a restart, and what is wrong with the newest one.
 *
 * R1 A configuration that cannot be taken changes nothing: the last good one stays in force, and the reason is kept until a
 *    good one comes (P6).
 */
import { CONFIG_KEYS, originText } from '../machines/daemon-config.ts';
import { explicitPolicies, explicitRestart, takeOver } from '../machines/daemon-config.ts';
import type { ConfigKey, EffectiveConfig } from '../machines/daemon-config.ts';
import { toPlainError } from '../machines/errors.ts';
import { asJsonObject } from '../machines/json.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { withoutUser } from '../machines/nats-url.ts';
import { redisPlace } from '../machines/redis-url.ts';
import type { DaemonWord } from './daemon-policies.ts';

export interface Taken {
  changed: ConfigKey[];
  /** In the newest configuration, and not in force before a restart. */
  waiting: ConfigKey[];
}

export class RunningConfig {
  #config: EffectiveConfig;
  #waiting: ConfigKey[] = [];
  #problem: { message: string; at: string } | null = null;
  /** There is a model that can be asked: found out while running. */
  hasModels = false;

  constructor(config: EffectiveConfig) {
    this.#config = config;
  }

  get inForce(): EffectiveConfig {
    return this.#config;
  }

  /** What cells are told. */
  get word(): DaemonWord {
    return {
      policies: explicitPolicies(this.#config),
      restart: explicitRestart(this.#config),
      models: this.hasModels,
    };
  }

  take(next: EffectiveConfig): Taken {
    const { config, changed, waiting } = takeOver(this.#config, next);
    this.#config = config;
    this.#waiting = waiting;
    this.#problem = null;
    return { changed, waiting };
  }

  /** R1. */
  refuse(error: unknown): void {
    this.#problem = { message: toPlainError(error).message, at: new Date().toISOString() };
  }

  view(): JsonObject {
    const problem = this.#problem;
    return { ...configView(this.#config), waiting: [...this.#waiting], problem };
  }
}

/** For status and `config show`: values as the source has them, origins beside, nothing secret. */
export function configView(config: EffectiveConfig): JsonObject {
  const { gateways } = config.values;
  const origins = CONFIG_KEYS.map((key) => [key, originText(config.origins[key])]);
  return {
    ...asJsonObject(config.values),
    nats: withoutUser(config.values.nats, 'redacted@'),
    redis_url: redisPlace(config.values.redis_url)?.shown ?? 'off',
    gateways: Array.isArray(gateways) ? gateways : withoutSecrets(gateways),
    file: config.file,
    origins: Object.fromEntries(origins) as JsonObject,
  };
}

/** What a person may see of one setting. */
export function shownValue(view: JsonObject, key: ConfigKey): JsonValue {
  const [first = '', second] = key.split('.');
  const value = view[first] ?? null;
  return second === undefined ? value : ((value as JsonObject)[second] ?? null);
}

/** A URL may carry a password or a token. */
function withoutSecrets(gateways: Record<string, string>): JsonObject {
  const shown = Object.entries(gateways).map(([name, text]) => {
    const url = URL.parse(text);
    if (url === null) return [name, '[not a URL]'];
    if (url.username !== '' || url.password !== '') {
      url.username = 'redacted';
      url.password = '';
    }
    if (url.search !== '') url.search = '?redacted';
    return [name, url.href];
  });
  return Object.fromEntries(shown) as JsonObject;
}

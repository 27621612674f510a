/** Which driver serves which type of action, and by which way. */
import { RuntimeError } from '../../machines/errors.ts';
import type { JsonObject } from '../../machines/json.ts';
import { asJsonObject } from '../../machines/json.ts';
import { argumentsOf, command, diskCleanup, namedCommand } from './commands.ts';
import { composeOf, containerOf, containerRestart, redeploy } from './containers.ts';
import { byHostAgent } from './host-agent.ts';
import { notify } from './notify.ts';
import type { Plan } from './plan.ts';
import { hostOf, timeoutMs } from './reach.ts';
import type { Host, Setting } from './reach.ts';
import type { Runnable } from '../../machines/action-context.ts';

const ON_HOST = {
  container_restart: containerRestart,
  redeploy,
  disk_cleanup: diskCleanup,
  command,
} as const;
type OnHost = keyof typeof ON_HOST;

/** For people: there is nothing to run, and running it is their having read it. */
const FOR_PEOPLE: readonly string[] = ['alert_only', 'diagnostics', 'failover_review'];

export const KNOWN_TYPES: readonly string[] = [...Object.keys(ON_HOST), 'notify', ...FOR_PEOPLE];

/** Throws RuntimeError UNSUPPORTED, NOT_CONFIGURED, INVALID_ARGUMENT. */
export function planFor(run: Runnable, setting: Setting): Plan {
  const { type } = run;
  if (FOR_PEOPLE.includes(type)) return acknowledged(type);
  if (type === 'notify') return notify(run, setting);
  if (!isOnHost(type))
    throw new RuntimeError(
      `no driver knows actions of type ${JSON.stringify(type.slice(0, 100))}`,
      {
        code: 'UNSUPPORTED',
        details: { type, known: KNOWN_TYPES },
        hint: `Known are ${KNOWN_TYPES.join(', ')}.`,
      },
    );
  const host = hostOf(setting, run.host);
  if (host.config.via !== 'nats') return ON_HOST[type](run, setting, host);
  return byHostAgent(type, host, {
    task: taskFor(type, run, setting, host),
    timeoutMs: timeoutMs(setting, type),
    travelMs: timeoutMs(setting, 'connect'),
    probeMs: timeoutMs(setting, 'probe'),
    verifies: verifies(type, run, setting, host),
  });
}

const isOnHost = (type: string): type is OnHost => Object.hasOwn(ON_HOST, type);

function acknowledged(type: string): Plan {
  return { driver: type, semantics: 'pure', via: 'none', verifies: false, steps: [] };
}

function verifies(type: OnHost, run: Runnable, setting: Setting, host: Host): boolean {
  if (type === 'command') return namedCommand(run, setting, host).config.verifies ?? false;
  return type !== 'disk_cleanup';
}

/** What an agent is told besides type, host and service. */
function taskFor(type: OnHost, run: Runnable, setting: Setting, host: Host): JsonObject {
  switch (type) {
    case 'container_restart':
      return { container: containerOf(setting, run) };
    case 'redeploy':
      return { compose: composeIfAny(run, setting, host) };
    case 'disk_cleanup':
      return { items: [...(host.config.disk_cleanup ?? [])] };
    case 'command': {
      const { name, argv } = namedCommand(run, setting, host);
      return { command: name, argv, arguments: argumentsOf(run) };
    }
    default:
      return type satisfies never;
  }
}

/** The agent may know by itself. */
function composeIfAny(run: Runnable, setting: Setting, host: Host): JsonObject | null {
  try {
    return asJsonObject(composeOf(setting, host, run));
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NOT_CONFIGURED') return null;
    throw error;
  }
}

/** Verbs about the policy of a homelab: what is in force and why, and taking back what was earned. */
import { dirname } from 'node:path';
import { runtimeLayout } from '../../cells/runtime-layout.ts';
import type { RuntimeLayout } from '../../cells/runtime-layout.ts';
import { GATE, SUPERVISOR } from '../../machines/addresses.ts';
import { earnedBy } from '../../machines/autonomy.ts';
import type { GateContext } from '../../machines/gate.machine.ts';
import { isJsonObject } from '../../machines/json.ts';
import type { JsonObject } from '../../machines/json.ts';
import { ACTING_REMEDIES, autonomyClass } from '../../machines/supervision.ts';
import type { Remedy } from '../../machines/supervision.ts';
import type { SupervisorContext } from '../../machines/supervisor-context.ts';
import type { MissionNode } from '../node.ts';
import { noRuntime } from '../policy/no-runtime.ts';
import { policyView } from '../policy/policy-view.ts';
import type { InForce } from '../policy/policy-view.ts';
import { refuseOnStandby } from '../runtime-holding.ts';
import { earnedView } from '../supervisor/autonomy-file.ts';
import { byOf, inputOf } from './verb.ts';
import type { MissionReader, ReadingVerb, VerbInput, WritingVerb } from './verb.ts';

export const policyReadingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'policy.show',
    summary: 'The policy of the homelab: each value, where it comes from, what was earned.',
    remote: true,
    input: inputOf([]),
    run(reader) {
      const running = reader.clock() !== undefined;
      return { running, ...policyView(layoutOf(reader), inForceAt(reader, running)) };
    },
  },
];

export const policyVerbs: WritingVerb[] = [
  {
    kind: 'writes',
    name: 'policy.revoke',
    summary: 'Takes back what a kind of action has earned on a service: a person decides again.',
    remote: true,
    rights: 'approve',
    destructive: true,
    idempotent: true,
    input: {
      ...inputOf([], ['by'], {
        remedy: { enum: [...ACTING_REMEDIES], description: 'the kind of action' },
        target: {
          type: 'string',
          minLength: 1,
          maxLength: 401,
          description: '<host>/<service>, or <host> for what is about the host itself',
        },
      }),
      required: ['remedy', 'target'],
    },
    run: revoke,
  },
];

async function revoke(node: MissionNode, input: VerbInput): Promise<JsonObject> {
  refuseOnStandby(node);
  const { remedy, target = '' } = input;
  const by = byOf(input);
  const of = autonomyClass(remedy as Remedy, target);
  const { system } = node.kernel;
  if (!system.has(SUPERVISOR)) await system.spawn(SUPERVISOR, 'supervisor', {});
  const before = system.read(SUPERVISOR).snapshot.context as SupervisorContext;
  const { successes } = earnedBy(before.earned, of);
  await system.send(SUPERVISOR, { type: 'autonomy.revoked', class: of, by });
  const { earned } = system.read(SUPERVISOR).snapshot.context as SupervisorContext;
  return { class: of, had_successes: successes, ...earnedView(earnedBy(earned, of)) };
}

/** Of a node that runs, where its policy is; else of the one that would start. Throws RuntimeError NOT_CONFIGURED. */
function layoutOf(reader: MissionReader): RuntimeLayout {
  const { planner } = reader.status().parts;
  const { policy } = isJsonObject(planner) ? planner : {};
  const { file } = isJsonObject(policy) ? policy : {};
  if (typeof file === 'string') return runtimeLayout(dirname(dirname(file)));
  const { runtime_path: path } = reader.config();
  if (typeof path === 'string' && path !== 'off') return runtimeLayout(path);
  throw noRuntime();
}

function inForceAt(reader: MissionReader, running: boolean): InForce {
  const [gate, supervisor] = [reader.actor(GATE), reader.actor(SUPERVISOR)];
  const isThere = supervisor !== undefined && !('held' in supervisor);
  const context = isThere ? (supervisor.context as SupervisorContext) : undefined;
  const isTold = running && gate !== undefined && !('held' in gate);
  return {
    policy: isTold ? (gate.context as GateContext).policy : null,
    sha256: context?.policySha256 ?? null,
    ledger: context?.earned ?? {},
  };
}

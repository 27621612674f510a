/** The actions of the supervisor, by name. */
import { driftAddress } from './addresses.ts';
import { cleared, revoked } from './autonomy.ts';
import { endRemedy, queueUp, serve, serveAll } from './supervisor-approvals.ts';
import * as shards from './shards.ts';
import { noteLook, noteSkipped } from './supervisor-looks.ts';
import { redecide } from './supervisor-rulings.ts';
import { become, supervisor } from './supervisor-setup.ts';

const configure = become((context, event, at) => {
  if (event.type !== 'supervisor.configured') return { context, out: [] };
  const { policy, alwaysHuman, zones, policySha256 = null, approvalExpires = null } = event;
  const next = { ...context, policy, alwaysHuman, zones, policySha256, approvalExpires };
  const isOtherTime = policy.verify_within !== context.policy.verify_within;
  const decided = redecide(next, shards.namesIn(next.standing), { at, always: isOtherTime });
  const served = serve(decided.context, at);
  return { context: served.context, out: [...decided.out, ...served.out] };
});

const freeze = become((context, event, at) =>
  event.type === 'supervisor.frozen'
    ? serve({ ...context, frozen: event.frozen }, at)
    : { context, out: [] },
);

const noteMoved = become((context, event) => {
  if (event.type !== 'drift.moved') return { context, out: [] };
  const { key, status, actionId } = event;
  const stood = shards.inShards(context.standing, key);
  if (stood === undefined) return { context, out: [] };
  const standing = shards.withEntry(context.standing, key, { ...stood, status, actionId });
  const row = context.row.filter((one) => one.key !== key || status === 'proposed'); // a person was quicker
  return { context: { ...context, standing, row }, out: [] };
});

/** S4. Throws RuntimeError BUSY. */
const changeLedger = become((context, event, at) => {
  if (event.type !== 'autonomy.revoked' && event.type !== 'autonomy.cleared')
    return { context, out: [] };
  const { class: of, by } = event;
  const earned =
    event.type === 'autonomy.revoked'
      ? revoked(context.earned, of, by)
      : cleared(context.earned, of);
  const key = of.slice(of.indexOf(' ') + 1);
  const decided = redecide({ ...context, earned }, [key], { at });
  const served = serve(decided.context, at);
  return { context: served.context, out: [...decided.out, ...served.out] };
});

const dismiss = become((context, event) => {
  if (event.type !== 'drift.done') return { context, out: [] };
  const { key } = event;
  const gone = shards.inShards(context.leaving, key);
  if (gone === undefined) return { context, out: [] }; // it stands again
  const address = driftAddress(gone.host, gone.service);
  return {
    context: { ...context, leaving: shards.withoutEntry(context.leaving, key) },
    out: [{ type: 'stop', params: { address, reason: 'its drift is over' } }],
  };
});

export const supervisorActions = {
  noteLook,
  noteSkipped,
  configure,
  freeze,
  noteMoved,
  queueUp,
  endRemedy,
  changeLedger,
  dismiss,
  serveAll,
  arm: supervisor.assign(({ context }) => ({ armedFor: context.lookAt })),
  disarm: supervisor.assign({ armedFor: null }),
};

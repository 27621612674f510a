/**
 * The notice of an action that failed: whoever reads it on a phone learns from its title and text alone what failed, where and
 * why. It goes to the targets of `notify`, as an approved action of that type does, and needs no approval: it only tells.
 */
import type { JsonObject } from '../../machines/json.ts';
import type { Runnable } from '../../machines/action-context.ts';

/** `about`: what the action says of itself (machines/action-inputs.ts). */
export function failureNotice(about: JsonObject): Runnable {
  const text = (name: string): string => {
    const value = about[name];
    return typeof value === 'string' ? value : '';
  };
  const actionId = text('action_id');
  const [host, service, intent] = [text('host'), text('service'), text('description')];
  const reason = text('reason') || 'nobody knows why';
  const content = {
    ...about,
    title: `${host}/${service}: ${text('type')} failed`,
    description: `${actionId} failed: ${reason}${intent === '' ? '' : ` (${intent})`}`,
    escalated: true,
  };
  return { actionId, type: 'notify', host, service, payload: about, content, sha256: '' };
}

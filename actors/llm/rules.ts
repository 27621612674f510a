/** The last rung, when the configuration puts it there: the fixed table of machines/llm-rules.ts in the place of a model. */
import { factsIn, proposeByRule } from '../../machines/llm-rules.ts';
import { ProviderError } from './provider.ts';
import type { Provider, ProviderAnswer, ProviderRequest } from './provider.ts';

export const rulesProvider: Provider = {
  name: 'rules',
  isLocal: true,
  ready: () => Promise.resolve({ state: 'up' }),
  known: () => ({ state: 'up', since: null }),
  ask({ context }: ProviderRequest): Promise<ProviderAnswer> {
    const facts = factsIn(context);
    if (facts === undefined)
      return Promise.reject(
        new ProviderError('the question is about no event', { kind: 'bad_request', isFree: true }),
      );
    return Promise.resolve({
      text: JSON.stringify(proposeByRule(facts)),
      ended: 'stop',
      stopReason: null,
      modelReported: 'rules',
      requestId: null,
      usage: null,
    });
  },
};

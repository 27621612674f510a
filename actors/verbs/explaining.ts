/**
 * The verb that answers from committed state why something is as it is. The records that led to it are read from the
 * journal's files by whoever asks (actors/why/history.ts): a gigabyte of history must not stand in the node's way.
 */
import { asJsonObject } from '../../machines/json.ts';
import { explain } from '../why/explain.ts';
import { inputOf } from './verb.ts';
import type { ReadingVerb, VerbInput } from './verb.ts';

export const explainingVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'why',
    summary:
      'Why a task, an agent, a mission, a revival or an effect is as it is, and what comes next.',
    remote: true,
    input: inputOf(['subject']),
    run(reader, { subject = '' }: VerbInput) {
      const { node } = reader.status();
      const committed = node['committed_lsn'];
      return {
        ...asJsonObject(explain(reader, subject)),
        running: reader.clock() !== undefined,
        committed_lsn: typeof committed === 'number' ? committed : null,
      };
    },
  },
];

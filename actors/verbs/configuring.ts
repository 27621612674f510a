/** What the daemon was told, as it is in force: a reading verb of its own, for the status of ten thousand cells is long. */
import { inputOf } from './verb.ts';
import type { ReadingVerb } from './verb.ts';

export const configVerbs: ReadingVerb[] = [
  {
    kind: 'reads',
    name: 'config.show',
    summary:
      'The configuration in force, where each value comes from, and what waits for a restart.',
    input: inputOf([]),
    remote: true,
    run: (reader) => reader.config(),
  },
];

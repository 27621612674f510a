/** The policies that hold for an agent, each with the file, and the place in it, that says so. */
import { agentPath, CELL_PATH } from '../../machines/cell-context.ts';
import type { CellContext } from '../../machines/cell-context.ts';
import { policiesOf, restartOf } from '../../machines/cell-settle.ts';
import { asJsonObject } from '../../machines/json.ts';
import type { PolicyOrigin } from '../../machines/policies.ts';
import type { PolicyFact } from './explanation.ts';

/** `because`: what was decided and why, in words; a policy that it names was decisive. */
export function policyFacts(context: CellContext, agentId: string, because: string): PolicyFact[] {
  const { values, origins } = policiesOf(context, agentId);
  const facts = Object.entries(asJsonObject(values)).map(([name, value]): PolicyFact => {
    const origin = origins[name as keyof typeof origins];
    return { name, value, decided: because.includes(name), ...place(name, origin, agentId) };
  });
  return [...facts, restartFact(context, because)].toSorted(
    (a, b) => Number(b.decided) - Number(a.decided),
  );
}

function place(
  name: string,
  origin: PolicyOrigin,
  agentId: string,
): Pick<PolicyFact, 'origin' | 'path' | 'pointer'> {
  switch (origin) {
    case 'agent file':
      return inFile(agentPath(agentId), `/policies/${name}`);
    case 'cell.json':
      return inFile(CELL_PATH, `/policies/${name}`);
    case 'config/policies.json':
      return inFile(origin, `/${name}`);
    case 'daemon':
      return nowhere('daemon configuration');
    case 'default':
      return nowhere(origin);
    default:
      return origin satisfies never;
  }
}

function restartFact(context: CellContext, because: string): PolicyFact {
  const { value, origin: from } = restartOf(context);
  const origin =
    from === 'cell.json'
      ? inFile(CELL_PATH, '/restart')
      : nowhere(from === 'daemon' ? 'daemon configuration' : from);
  const decided = / revivals within \d+ s/.test(because);
  return { name: 'restart', value: asJsonObject(value), decided, ...origin };
}

const inFile = (path: string, pointer: string) => ({ origin: path, path, pointer });
const nowhere = (origin: string) => ({ origin, path: null, pointer: null });

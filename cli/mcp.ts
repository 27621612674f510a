/**
 * `lazarus mcp`: what an MCP client starts. It has no state of its own: each call goes to the node that runs, and reading goes
 * to the disk when none does.
 */
import type { Command } from 'commander';
import type { McpHost } from '../bus/mcp.ts';
import type { ServedVerb } from '../bus/control-socket.ts';
import { callVerb } from '../bus/control-client.ts';
import { RuntimeError } from '../machines/errors.ts';
import { isJsonObject } from '../machines/json.ts';
import type { JsonValue } from '../machines/json.ts';
import { read, readNodeFile, whoAsks } from './access.ts';
import { act, verb } from './command.ts';
import { stderrLog } from './log.ts';
import { chooseMissions } from './missions.ts';
import type { Missions } from './missions.ts';
import { VERSION } from './version.ts';

export function command(): Command {
  const mcp = verb(
    'mcp',
    'Serves the missions to an MCP client over standard input and output.',
    'lazarus mcp --missions /var/missions\nclaude mcp add lazarus -- lazarus mcp --missions /var/missions',
  ).option(
    '--allow-approvals',
    'also offer what otherwise only people do: approve revivals, confirm criteria, settle doubts',
  );
  return act<{ allowApprovals?: true }>(mcp, async (_args, flags) => {
    const missions = chooseMissions(flags.missions);
    const host = await hostOf(missions, flags.allowApprovals === true);
    const { mcpOverStdio } = await import('../bus/mcp-stdio.ts');
    const { error } = await mcpOverStdio(host, { input: process.stdin, output: process.stdout });
    if (error !== undefined)
      throw new RuntimeError(`the MCP connection was ended: ${error.message}`, {
        code: 'INVALID_ARGUMENT',
        cause: error,
        hint: 'Start the client again; a message may have at most 4 MiB.',
      });
  });
}

async function hostOf(missions: Missions, mayApprove: boolean): Promise<McpHost> {
  const [{ VERBS }, { described }] = await Promise.all([
    import('../actors/control.ts'),
    import('../actors/served-verbs.ts'),
  ]);
  const verbs = VERBS.filter(({ remote }) => remote).map((known): ServedVerb => {
    const { name, kind } = known;
    const run = (input: JsonValue): Promise<JsonValue> =>
      kind === 'reads' ? read(missions, name, input) : ask(missions, name, input);
    return { ...described(known), run };
  });
  return {
    version: VERSION,
    verbs,
    approvals: () => mayApprove,
    async remoteCommands() {
      const config = await read(missions, 'config.show', {});
      return isJsonObject(config) && config['remote_commands'] === true;
    },
    log: stderrLog('warn'),
  };
}

/** Only a node that runs is asked to change something: a client may come and go many times while none does. */
async function ask(missions: Missions, name: string, input: JsonValue): Promise<JsonValue> {
  const node = readNodeFile(missions);
  if (node === undefined)
    throw new RuntimeError(`no node runs on ${missions.dir}`, {
      code: 'NOT_RUNNING',
      hint: `Start one: lazarus up --missions ${missions.dir}`,
    });
  return callVerb(node.control, name, signed(input));
}

/** The client says its name, the operating system says whose process it is. */
function signed(input: JsonValue): JsonValue {
  if (!isJsonObject(input) || typeof input['by'] !== 'string') return input;
  return { ...input, by: `${input['by']}, started by ${whoAsks()}` };
}

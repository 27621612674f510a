/** `lazarus agent ...` */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { JsonObject } from '../machines/json.ts';
import { write } from './access.ts';
import { field } from './cell.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';

export function command(): Command {
  return group('agent', 'Add, pause, resume, kill, revive agents.', [
    add(),
    asking('pause', 'Lets an agent finish its step and take no other.'),
    asking('resume', 'Lets a paused agent go on.'),
    asking(
      'kill',
      "Ends an agent's worker process at once (SIGKILL); its policy says what follows.",
    ),
    asking('revive', 'Brings back an agent whose worker is lost, whatever its policy.'),
  ]);
}

interface AddFlags {
  name?: string;
  role: string;
  capability: string[];
  run?: string[];
  from?: string;
}

function add(): Command {
  const adding = verb(
    'add',
    'Adds an agent to a mission.',
    'lazarus agent add 5c0e6e08 writer_3 --name "Third writer" --role write\nlazarus agent add 5c0e6e08 shell --run sh tools/work.sh',
  )
    .argument('<cell>', "the mission's id, or the first characters of it")
    .argument('<agent>', 'the new id')
    .option('--name <text>', 'its name (default: the id)')
    .addOption(
      new Option('--role <role>', 'what it may do')
        .choices(['lead', 'write', 'read', 'audit'])
        .default('write'),
    )
    .option('--capability <name...>', 'what tasks may require of it', [])
    .option('--run <argv...>', 'the command for tasks without steps (the last option)')
    .option('--from <file>', 'the whole agent file instead');
  return act<AddFlags>(adding, async ([cell = '', id = ''], flags) => {
    const { addFile, readModel } = await import('./add-file.ts');
    const content: JsonObject =
      flags.from === undefined ? agentOf(id, flags) : readModel(flags.from);
    const result = await addFile({ kind: 'agent', cell, id, content }, flags);
    show(flags, result, () => [`agent ${id}: ${field(result, 'path')}`, field(result, 'note')]);
  });
}

function agentOf(id: string, { name, role, capability, run }: AddFlags): JsonObject {
  return {
    $schema: 'https://lazarus.dev/schemas/agent.json',
    agent_id: id,
    name: name ?? id,
    role,
    capabilities: capability,
    ...(run === undefined ? {} : { runner: { kind: 'command', run } }),
  };
}

function asking(name: 'pause' | 'resume' | 'kill' | 'revive', summary: string): Command {
  const asked = verb(name, summary, `lazarus agent ${name} writer_1`).argument(
    '<agent>',
    'its id, or <cell_id>/<agent_id> when several missions have one of that name',
  );
  return act(asked, async ([agent = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), `agent.${name}`, { agent });
    show(flags, result, () => {
      const what = {
        kill: `worker ${field(result, 'pid')} killed`,
        revive: `revival ${field(result, 'revival_id')} approved`,
        pause: field(result, 'status'),
        resume: field(result, 'status'),
      }[name];
      return [`agent ${field(result, 'agent_id')}: ${what}`];
    });
  });
}

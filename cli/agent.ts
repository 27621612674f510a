/** `lazarus agent ...` */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { AgentStatusView, RevivalView } from '../actors/status.ts';
import type { JsonObject, JsonValue } from '../machines/json.ts';
import { read, write } from './access.ts';
import { field } from './cell.ts';
import { act, group, verb } from './command.ts';
import { chooseMissions } from './missions.ts';
import { show } from './output.ts';
import { answerLines, choiceOf } from './revivals.ts';
import { brief, paint, table } from './terminal.ts';

export function command(): Command {
  return group('agent', 'Add, show, pause, resume, kill, revive agents.', [
    add(),
    asking('pause', 'Lets an agent finish its step and take no other.'),
    asking('resume', 'Lets a paused agent go on.'),
    asking(
      'kill',
      "Ends an agent's worker process at once (SIGKILL); its policy says what follows.",
    ),
    revive(),
    showOne(),
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
    const [{ add: ask }, { readModel }] = await Promise.all([
      import('./add.ts'),
      import('./read-model.ts'),
    ]);
    const fields = flags.from === undefined ? agentOf(flags) : { file: readModel(flags.from) };
    const asked = { cell, agent_id: id, ...fields };
    const result = await ask(chooseMissions(flags.missions), 'agent.add', asked);
    show(flags, result, () => [`agent ${id}: ${field(result, 'path')}`, field(result, 'note')]);
  });
}

function agentOf({ name, role, capability, run }: AddFlags): JsonObject {
  return {
    ...(name === undefined ? {} : { name }),
    role,
    capabilities: capability,
    ...(run === undefined ? {} : { runner: { kind: 'command', run } }),
  };
}

function asking(name: 'pause' | 'resume' | 'kill', summary: string): Command {
  const asked = verb(name, summary, `lazarus agent ${name} writer_1`).argument(
    '<agent>',
    'its id, or <cell_id>/<agent_id> when several missions have one of that name',
  );
  return act(asked, async ([agent = ''], flags) => {
    const result = await write(chooseMissions(flags.missions), `agent.${name}`, { agent });
    show(flags, result, () => {
      const what = {
        kill: `worker ${field(result, 'pid')} killed`,
        pause: field(result, 'status'),
        resume: field(result, 'status'),
      }[name];
      return [`agent ${field(result, 'agent_id')}: ${what}`];
    });
  });
}

function revive(): Command {
  const reviving = verb(
    'revive',
    'Brings back a failed agent, whatever its policy.',
    'lazarus agent revive writer_1\nlazarus agent revive writer_1 --previous-checkpoint',
  )
    .argument('<agent>', 'its id, or <cell_id>/<agent_id>')
    .option('--previous-checkpoint', 'first put its state back to the checkpoint before the last');
  return act<{ previousCheckpoint?: boolean }>(reviving, async ([agent = ''], flags) => {
    const asked = { agent, ...choiceOf(flags) };
    const result = await write(chooseMissions(flags.missions), 'agent.revive', asked);
    show(flags, result, () => answerLines(result as unknown as RevivalView));
  });
}

interface ShownAgent extends AgentStatusView {
  cell_id: string;
  policies: Record<string, { value: JsonValue; from: string }>;
  revival: RevivalView | null;
}

function showOne(): Command {
  const showing = verb(
    'show',
    'One agent: how it is, by which policies it is brought back, and which file says so.',
    'lazarus agent show writer_1',
  ).argument('<agent>', 'its id, or <cell_id>/<agent_id>');
  return act(showing, async ([agent = ''], flags) => {
    const result = await read(chooseMissions(flags.missions), 'agent.show', { agent });
    show(flags, result, () => agentLines(result as unknown as ShownAgent));
  });
}

function agentLines(agent: ShownAgent): string[] {
  const { revival } = agent;
  const facts = [
    agent.role,
    agent.pid === null ? '' : `pid ${agent.pid}`,
    agent.current_task === null ? '' : `at ${agent.current_task}`,
  ];
  return [
    `${paint('bold', `${agent.cell_id}/${agent.agent_id}`)}  ${agent.status}, ${agent.health}  ${facts.filter(Boolean).join(' · ')}`,
    ...(agent.reason === null ? [] : [`  ${brief(agent.reason, 200)}`]),
    ...(revival === null ? [] : [`  Lazarus: ${brief(revival.doing, 200)}`]),
    '',
    ...table(
      ['POLICY', 'VALUE', 'FROM'],
      Object.entries(agent.policies).map(([name, { value, from }]) => [
        name,
        brief(JSON.stringify(value), 60),
        from,
      ]),
    ),
  ];
}

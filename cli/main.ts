/**
 * The command line. One file a verb, or a family of verbs, read only when it is asked for: a start should not pay for what
 * it does not do.
 */
import { Command, CommanderError } from 'commander';
import { RuntimeError } from '../machines/errors.ts';
import { translateOldFlags } from './old-flags.ts';
import { DONE, MISUSED, tell } from './output.ts';
import { attachLauncher } from './signals.ts';
import { VERSION } from './version.ts';

interface Entry {
  summary: string;
  load: () => Promise<{ command: () => Command }>;
}

const ENTRIES: Record<string, Entry> = {
  up: { summary: 'Run the missions of a folder until stopped.', load: () => import('./up.ts') },
  demo: {
    summary: 'Run a real mission, kill one of its agents, verify the result.',
    load: () => import('./demo-verb.ts'),
  },
  status: {
    summary: 'What runs, what is stuck and why, what waits for you.',
    load: () => import('./status.ts'),
  },
  health: {
    summary: 'Which agents are well: the health report, with its summary.',
    load: () => import('./health.ts'),
  },
  cell: {
    summary: 'Create, list, show, pause, resume, cancel, export, import, validate missions.',
    load: () => import('./cell.ts'),
  },
  agent: {
    summary: 'Add, show, pause, resume, kill, revive agents.',
    load: () => import('./agent.ts'),
  },
  task: { summary: 'Add, retry, cancel tasks.', load: () => import('./task.ts') },
  doubt: {
    summary: 'Steps that may have run: list them, say how they ended.',
    load: () => import('./doubt.ts'),
  },
  revivals: {
    summary: 'Failed agents: what Lazarus does about them, what it asks you.',
    load: () => import('./revivals.ts'),
  },
  drift: {
    summary: 'What is not as it should be in the homelab, and what is done about it.',
    load: () => import('./drift.ts'),
  },
  reconcile: {
    summary: 'Compare what should be with what is, now; --dry-run changes nothing.',
    load: () => import('./reconcile.ts'),
  },
  incidents: {
    summary: 'What is wrong in the homelab, and what is done about it.',
    load: () => import('./incidents.ts'),
  },
  cooldowns: {
    summary: 'Services that get no new proposal for a while: list them, end one.',
    load: () => import('./cooldowns.ts'),
  },
  models: {
    summary: 'Language models: which can be asked and why not; ask one again.',
    load: () => import('./models.ts'),
  },
  policy: {
    summary: 'What may be done without a person: see it, check it, try another on the past.',
    load: () => import('./policy.ts'),
  },
  actions: {
    summary: 'Actions on the homelab: look at them, approve, reject, cancel.',
    load: () => import('./actions.ts'),
  },
  freeze: {
    summary: 'Let no action run until it is ended.',
    load: () => import('./freeze.ts'),
  },
  unfreeze: {
    summary: 'End a freeze: approved actions may run again.',
    load: async () => ({ command: (await import('./freeze.ts')).unfreezeCommand }),
  },
  'host-agent': {
    summary: 'On a host that a node reaches by NATS: do there what was approved.',
    load: () => import('./host-agent.ts'),
  },
  inject: {
    summary: 'Send an event to a mission or an agent; list what may be sent.',
    load: () => import('./inject.ts'),
  },
  inspect: {
    summary: 'Watch every actor live, in a browser.',
    load: () => import('./inspect.ts'),
  },
  logs: { summary: 'What happened, for people.', load: () => import('./logs.ts') },
  events: { summary: 'What happened, record by record.', load: () => import('./events.ts') },
  config: {
    summary: 'The configuration of the daemon: make one, see what holds and why.',
    load: () => import('./config.ts'),
  },
  doctor: {
    summary: 'What this host can do, what is missing, and the command that mends it.',
    load: () => import('./doctor.ts'),
  },
  mcp: {
    summary: 'Serves the missions to an MCP client over standard input and output.',
    load: () => import('./mcp.ts'),
  },
  why: {
    summary: 'Why something is as it is, what comes next, what it needs from you.',
    load: () => import('./why.ts'),
  },
  fsck: {
    summary: 'Checks what is on disk against what is promised.',
    load: () => import('./fsck.ts'),
  },
};

/** Sets the exit status; never rejects. */
export async function main(words: string[]): Promise<void> {
  const argv = translateOldFlags(words);
  attachLauncher();
  endQuietlyWithoutReader();
  const json = argv.includes('--json');
  try {
    const program = await build(argv);
    if (argv.length === 0) program.outputHelp({ error: true });
    if (argv.length === 0) process.exitCode = MISUSED;
    else await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === DONE) return; // --help, --version
    process.exitCode =
      error instanceof CommanderError ? tell(misuse(error, argv), { json }) : tell(error, { json });
  }
}

async function build(argv: readonly string[]): Promise<Command> {
  const words = argv.filter((word) => !word.startsWith('-'));
  const wanted = words[0] === 'help' ? words[1] : words[0];
  const program = new Command('lazarus')
    .description('A durable actor runtime for missions run by agents.')
    .version(VERSION)
    .addHelpText(
      'after',
      '\nExample:\n  $ lazarus up            # and in another terminal:\n  $ lazarus status --watch\n',
    );
  for (const [name, { summary, load }] of Object.entries(ENTRIES))
    program.addCommand(
      name === wanted
        ? (await load()).command()
        : new Command(name).summary(summary).description(summary),
    );
  throwInsteadOfExit(program);
  return program;
}

function throwInsteadOfExit(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  for (const member of command.commands) throwInsteadOfExit(member);
}

/** commander's message, in our form. */
function misuse(error: CommanderError, argv: readonly string[]): RuntimeError {
  const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  const words = argv.filter((word) => /^[a-z]+$/.test(word));
  const isFamily = [
    'cell',
    'agent',
    'task',
    'doubt',
    'revivals',
    'cooldowns',
    'config',
    'actions',
    'policy',
  ].includes(words[0] ?? '');
  const depth = isFamily && error.code !== 'commander.unknownCommand' ? 2 : 1;
  const known = words[0] !== undefined && Object.hasOwn(ENTRIES, words[0]);
  const verb = known ? ` ${words.slice(0, depth).join(' ')}` : '';
  return new RuntimeError(message === '(outputHelp)' ? 'a verb is missing' : message, {
    code: 'INVALID_ARGUMENT',
    hint: `lazarus${verb} --help`,
  });
}

/** `lazarus events | head`: who closes the pipe has read enough. */
function endQuietlyWithoutReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(DONE);
  });
}

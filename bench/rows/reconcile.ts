/**
 * A look of the supervisor's at a large homelab, all of it at once: the inventory's and the world's files parsed, understood,
 * compared. Against the bare cost of parsing the same texts, which nobody can go below. Then the same after one host has
 * changed, when only that is to be looked at again.
 */
import { parseYaml } from '../../cells/yaml-file.ts';
import { Fleet } from '../../machines/desired-fleet.ts';
import { readHostServices } from '../../machines/desired.ts';
import type { HostFile } from '../../machines/desired.ts';
import type { JsonValue } from '../../machines/json.ts';
import { Reconciler, reconcile } from '../../machines/reconcile.ts';
import type { Reconciled, Stands } from '../../machines/reconcile.ts';
import { DEFAULT_SUPERVISOR_POLICY as POLICY } from '../../machines/supervision.ts';
import type { Desired, Observed } from '../../machines/supervision.ts';
import { observeWorld } from '../../machines/world.ts';
import type { WorldContents } from '../../machines/world.ts';
import { alternate, median, shown, target } from '../harness.ts';
import type { Bench, Figure, Row } from '../harness.ts';
import { profiled } from '../profile.ts';

const SERVICES = 20;
/** One service in so many is ill. */
const ILL = 100;
const MAX_BYTES = 1 << 20;
const NOW = Date.parse('2026-11-21T12:00:00Z');
const NO_ALIASES: ReadonlyMap<string, string> = new Map();

export const row: Row = {
  name: 'reconcile',
  title:
    'Desired against observed, of many hosts with 20 services each, against the bare parsing of the same files',
  async measure(bench) {
    const lab = new Lab(hostsOf(bench));
    const whole = await alternate(
      bench.rounds,
      () => timed(() => lab.look()),
      () => timed(() => lab.parse()),
    );
    const world = await alternate(
      bench.rounds,
      () => timed(() => lab.lookAtWorld()),
      () => timed(() => lab.parseWorld()),
    );
    return [
      ...wholeFigures(lab, whole),
      ...worldFigures(world),
      ...(await changeFigures(bench, lab)),
    ];
  },
  async profile(bench) {
    const lab = new Lab(hostsOf(bench));
    return profiled(() => void lab.look());
  },
};

const hostsOf = (bench: Bench): number => bench.pick({ full: 1000, quick: 200 });

interface Sides {
  ours: number[];
  baseline: number[];
}

function wholeFigures(lab: Lab, { ours, baseline }: Sides): Figure[] {
  const [mine, bare] = [median(ours), median(baseline)];
  return [
    target(
      `full look at ${lab.hosts} hosts / bare parsing`,
      mine / bare,
      { unit: 'x', better: 'lower', atLeast: 1.5, aim: 1.2 },
      `${mine.toFixed(0)} ms against ${bare.toFixed(0)} ms of YAML and JSON`,
    ),
  ];
}

function worldFigures({ ours, baseline }: Sides): Figure[] {
  const [mine, bare] = [median(ours), median(baseline)];
  const detail = `${mine.toFixed(1)} ms against ${bare.toFixed(1)} ms of JSON`;
  return [shown('the world alone, read anew / bare parsing', mine / bare, 'x', detail)];
}

async function changeFigures(bench: Bench, lab: Lab): Promise<Figure[]> {
  const looks = new Looks(lab);
  const { ours, baseline } = await alternate(
    bench.rounds * 5,
    () => looks.change(),
    () => looks.anew(),
  );
  const [mine, full] = [median(ours), median(baseline)];
  const detail = `${(mine * 1000).toFixed(0)} us against ${full.toFixed(1)} ms`;
  return [
    target(
      'compared again after a change of 1 host / of all',
      (mine / full) * 100,
      { unit: '%', better: 'lower', atLeast: 10, aim: 5 },
      detail,
    ),
  ];
}

async function timed(work: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** What stays from one look to the next. */
interface Kept {
  desired: Desired;
  observed: Observed;
  reconciler: Reconciler;
  standing: Map<string, Stands>;
}

/** The files of a homelab, as texts. */
class Lab {
  readonly hosts: number;
  #writes = 0;
  readonly #inventory: { host: string; bytes: Buffer }[] = [];
  readonly #world: Record<'nodes' | 'services' | 'deployments' | 'incidents', string>;

  constructor(hosts: number) {
    this.hosts = hosts;
    const nodes: Record<string, JsonValue> = {};
    const services: Record<string, JsonValue> = {};
    for (let h = 0; h < hosts; h += 1) {
      const host = `host-${h}`;
      const lines = Array.from(
        { length: SERVICES },
        (_, s) => `  - name: service-${s}\n    exposure: local-only\n${needOf(hosts, h, s)}`,
      );
      this.#inventory.push({ host, bytes: Buffer.from(`services:\n${lines.join('')}`) });
      nodes[host] = {
        status: 'online',
        availability: 'online',
        roles: ['edge'],
        disk_pressure: 'normal',
        last_seen: NOW / 1000 - 30,
      };
      for (let s = 0; s < SERVICES; s += 1)
        services[`${host}/service-${s}`] = serviceEntry(host, s, (h * SERVICES + s) % ILL === 7);
    }
    this.#world = {
      nodes: JSON.stringify(nodes),
      services: JSON.stringify(services),
      deployments: JSON.stringify({
        'dep-1': {
          node: 'host-1',
          service: 'service-1',
          status: 'failed',
          completed_at: NOW / 1000 - 60,
        },
      }),
      incidents: JSON.stringify({
        'inc-1': { node: 'host-2', service: 'service-2', status: 'active', type: 'odd' },
      }),
    };
  }

  parse(): unknown[] {
    return [...this.#inventory.map(({ bytes }) => parsedYaml(bytes)), this.parseWorld()];
  }

  /** As if just written. */
  parseWorld(): WorldContents {
    const contents = Object.entries(this.#world).map(([name, text]) => [
      name,
      { content: JSON.parse(text) as JsonValue, mtimeMs: NOW + (this.#writes += 1) },
    ]);
    return Object.fromEntries(contents) as WorldContents;
  }

  files(): Map<string, HostFile> {
    const files = new Map<string, HostFile>();
    for (const { host, bytes } of this.#inventory) {
      const read = readHostServices(host, parsedYaml(bytes));
      if (!read.ok) throw new Error(`${host}: ${JSON.stringify(read.problems)}`);
      files.set(host, read.host);
    }
    return files;
  }

  #desired(): Desired {
    const hosts = this.files();
    return new Fleet().update({ topology: null, hosts, aliases: NO_ALIASES }).desired;
  }

  look(): Reconciled {
    const observed = observeWorld(this.parseWorld(), NO_ALIASES);
    const found = reconcile(this.#desired(), observed, new Map(), POLICY, NOW);
    if (found.drifts.length < (this.hosts * SERVICES) / ILL)
      throw new Error('it has not seen what is ill');
    return found;
  }

  #kept: Kept | undefined;
  /** As at run time: the world's files were written anew, the inventory's were not. */
  lookAtWorld(): void {
    this.#kept ??= this.keep();
    const { desired, observed, reconciler, standing } = this.#kept;
    this.#kept.observed = observeWorld(this.parseWorld(), NO_ALIASES, observed);
    reconciler.look(desired, this.#kept.observed, standing, POLICY, NOW);
  }

  keep(): Kept {
    const desired = this.#desired();
    const observed = observeWorld(this.parseWorld(), NO_ALIASES);
    const reconciler = new Reconciler();
    const { drifts } = reconciler.look(desired, observed, new Map(), POLICY, NOW);
    return {
      desired,
      observed,
      reconciler,
      standing: new Map(drifts.map((one) => [one.drift.key, one])),
    };
  }
}

/** A third depends on a neighbour, and a few on something elsewhere. */
const needOf = (hosts: number, h: number, s: number): string =>
  s % 3 !== 2
    ? ''
    : `    depends_on: [service-${s - 1}${s === 2 ? `, host-${(h + 1) % hosts}/service-0` : ''}]\n`;

const serviceEntry = (node: string, s: number, isIll: boolean): JsonValue => ({
  node,
  service: `service-${s}`,
  status: isIll ? 'unhealthy' : 'healthy',
  since: NOW / 1000 - 3600,
  trigger: isIll ? 'containers_not_running' : null,
  severity: 'info',
  flap_score: 0,
  active_incidents: [],
  last_event: 'service_healthy',
  last_event_at: NOW / 1000 - 20,
});

function parsedYaml(bytes: Buffer): JsonValue {
  const parsed = parseYaml(bytes, MAX_BYTES);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

/** What is compared after a service of one host was heard to be ill, or well again. */
class Looks {
  readonly #lab: Kept;
  #turn = 0;

  constructor(lab: Lab) {
    this.#lab = lab.keep();
  }

  change(): number {
    const { desired, reconciler, standing } = this.#lab;
    this.#next();
    const startedAt = performance.now();
    reconciler.look(desired, this.#lab.observed, standing, POLICY, NOW);
    return performance.now() - startedAt;
  }

  anew(): number {
    const { desired, observed, standing } = this.#lab;
    const startedAt = performance.now();
    reconcile(desired, observed, standing, POLICY, NOW);
    return performance.now() - startedAt;
  }

  #next(): void {
    const { observed } = this.#lab;
    const name = `host-${(this.#turn += 1) % observed.hosts.size}`;
    const host = observed.hosts.get(name);
    const service = host?.services.get('service-3');
    if (host === undefined || service === undefined) throw new Error(`nothing is known of ${name}`);
    const services = new Map(host.services).set('service-3', {
      ...service,
      status: 'down',
      condition: 'ill',
    });
    this.#lab.observed = {
      ...observed,
      hosts: new Map(observed.hosts).set(name, { ...host, services }),
    };
  }
}

/** The daemon's configuration, as the next start would meet it. */
import { statSync } from 'node:fs';
import { othersMayWrite } from '../../cells/daemon-config.ts';
import type { ConfigPlace } from '../../cells/config-place.ts';
import { CONFIG_KEYS, gatewayUrls } from '../../machines/daemon-config.ts';
import type { EffectiveConfig } from '../../machines/daemon-config.ts';
import { RuntimeError } from '../../machines/errors.ts';
import { needed, ok, warn } from './check.ts';
import type { Probe } from './check.ts';

export interface ConfigToExamine {
  place: ConfigPlace;
  load: () => Promise<EffectiveConfig>;
}

export function configurationProbes({ place, load }: ConfigToExamine): Probe[] {
  return [
    { group: 'configuration', name: 'settings', look: () => lookAtSettings(place, load) },
    { group: 'configuration', name: 'permissions', look: () => lookAtPermissions(place, load) },
  ];
}

async function lookAtSettings({ file }: ConfigPlace, load: ConfigToExamine['load']) {
  try {
    const config = await load();
    const count = CONFIG_KEYS.filter((key) => config.origins[key].from !== 'default').length;
    const isThere = file !== null && statSync(file, { throwIfNoEntry: false }) !== undefined;
    const where = file === null ? 'no file is read' : isThere ? file : `no ${file}`;
    return ok(`${where}; ${count === 0 ? 'defaults hold' : `${count} settings are not defaults`}`);
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return needed(error.message, error.hint ?? 'lazarus config show');
  }
}

/** Who can write it decides what agents may do; who can read it may read a password of a gateway. */
async function lookAtPermissions({ file }: ConfigPlace, load: ConfigToExamine['load']) {
  const stats = file === null ? undefined : statSync(file, { throwIfNoEntry: false });
  if (file === null || stats === undefined) return ok('there is no file');
  const loose = othersMayWrite(file);
  if (loose !== null) return warn(`${loose} can be written by others`, `chmod go-w ${loose}`);
  const urls = await load().then(
    ({ values }) => Object.values(gatewayUrls(values)),
    () => [],
  );
  const hasSecret = urls.some((url) => URL.parse(url)?.password);
  if (hasSecret && (stats.mode & 0o077) !== 0)
    return warn(`${file} holds a password and can be read by others`, `chmod 600 ${file}`);
  return ok(`${file} can be written by this user alone`);
}

/** Said where nobody has named the folder that the homelab's programs share. */
import { RuntimeError } from '../../machines/errors.ts';

export const noRuntime = (): RuntimeError =>
  new RuntimeError('nobody says which folder the homelab shares', {
    code: 'NOT_CONFIGURED',
    hint: 'Name it: --runtime DIR, RUNTIME_PATH, or runtime_path in the configuration.',
  });

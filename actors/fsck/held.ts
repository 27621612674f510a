/**
 * Whom a running node holds, by its own word: the files do not tell. Some are held for what is on disk, others for what they
 * did, and what helps differs.
 */
import { homeCell } from '../../machines/addresses.ts';
import type { Findings } from './finding.ts';
import type { World } from './world.ts';

export function checkHeld(world: World, findings: Findings): void {
  for (const [address, { code, reason }] of world.held ?? [])
    if (world.isChecked(address))
      findings.add({
        severity: 'error',
        code: 'actor-held',
        what: `${address} is held: ${reason}`,
        where: address,
        means: 'It does nothing. What comes for it is recorded and waits.',
        todo: adviceFor(code, address),
        cell_id: homeCell(address),
      });
}

function adviceFor(code: string, address: string): string {
  const release = `\`lazarus cell release ${address}\``;
  switch (code) {
    case 'CHECKPOINT_CORRUPT':
      return `Put back a sound copy of what is named from a backup of the cell, then ${release}.`;
    case 'JOURNAL_CORRUPT':
      return `Stop the node and put back a sound copy of the journal or of the cell; or go on without what is lost: ${release}.`;
    case 'MACHINE_MISMATCH':
      return 'Run the build that wrote its state, or a newer one that can migrate it.';
    default:
      return `When the cause is gone: ${release}.`;
  }
}

/** The actions of the action machine, by name. */
import * as answers from './action-answers.ts';
import * as place from './action-place.ts';
import * as run from './action-run.ts';
import * as steps from './action-steps.ts';

const { takeEnd, ...asked } = answers;
const {
  become,
  toProposer: _toProposer,
  toPlanner: _toPlanner,
  toDrift: _toDrift,
  ...said
} = steps;

export const actionActions = {
  ...place,
  ...asked,
  ...run,
  ...said,
  takeRejection: takeEnd('reject', 'rejected'),
  takeCancel: takeEnd('cancel', 'cancelled'),
  becomePending: become('pending'),
  becomeHeld: become('held'),
  becomeApproved: become('approved'),
  becomeRunning: become('running'),
  becomeSettled: become('as it stands'),
};

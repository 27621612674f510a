/**
 * What Home Assistant's diagnosing agent tells people: something of the house is not right, and a restart would mend none of it. No
 * sign that a service is ill (observed-event.ts), and nothing that a model is asked about (event-rules.ts).
 */
export const HOME_ASSISTANT_ALERTS: readonly string[] = [
  'entity_unavailable',
  'integration_failed',
  'automation_failing',
  'update_available',
  'recorder_lag',
  'system_health_degraded',
];

/** Why a signal was written, as `ml.signals.v1` says it. A reason of a later version is shown as it is. */
export const REASONS = ['edge', 'flip', 'exit', 'session_end', 'halt', 'gap', 'model_change', 'roll_over'] as const;
export type Reason = (typeof REASONS)[number];

export function reasonName(reason: string): Reason | null {
  return (REASONS as readonly string[]).includes(reason) ? (reason as Reason) : null;
}

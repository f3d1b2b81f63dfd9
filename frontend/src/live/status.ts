/** What a reader is told about the connection and about each panel; pure functions of state and time. */

import type { Problem } from '@/api/problem';

import { POLL_MS } from './poll';
import type { ChannelState, LiveState } from './reducer';

export type ConnectionStatus = 'connecting' | 'live' | 'polling' | 'stale';

/** `stale` also stands for a gateway that never answered. */
export function connectionStatus(state: LiveState, nowMs: number, startedMs: number): ConnectionStatus {
  if (state.socketUp) return 'live';
  if (state.lastPollMs > 0 && nowMs - state.lastPollMs < 2.5 * POLL_MS) return 'polling';
  if (!state.everConnected && state.lastPollMs === 0 && nowMs - startedMs < 3_000) return 'connecting';
  return 'stale';
}

export type PanelStatus = 'loading' | 'live' | 'polling' | 'stale' | 'error';

export interface PanelView {
  status: PanelStatus;
  /** When the data were last known to be current, by this machine's clock; 0 where there are none. */
  asOfMs: number;
  problem: Problem | null;
}

/** A panel keeps what it has: it is an error only where it has nothing, and stale where it has something old. */
export function panelView(channel: ChannelState | undefined, state: LiveState, nowMs: number): PanelView {
  if (!channel || channel.data === undefined) {
    const problem = channel?.problem ?? null;
    return { status: problem ? 'error' : 'loading', asOfMs: 0, problem };
  }
  const inStep = channel.source === 'socket' && !channel.awaiting && channel.problem === null;
  if (state.socketUp && inStep) {
    return { status: 'live', asOfMs: Math.max(state.lastMessageMs, channel.confirmedMs), problem: null };
  }
  const { confirmedMs: asOfMs, problem } = channel;
  // A moment's grace while the socket resumes: the data are as good as a poll ago.
  if (state.socketUp && nowMs - asOfMs < POLL_MS) return { status: 'live', asOfMs, problem };
  if (channel.source === 'poll' && problem === null && nowMs - asOfMs < 2.5 * POLL_MS) {
    return { status: 'polling', asOfMs, problem };
  }
  return { status: 'stale', asOfMs: lastKnownMs(channel, state), problem };
}

/** Data that came by socket were confirmed by every heartbeat until the socket went silent. */
function lastKnownMs(channel: ChannelState, state: LiveState): number {
  const quiet = channel.source === 'socket' && !channel.awaiting;
  return quiet ? Math.max(channel.confirmedMs, state.lastMessageMs) : channel.confirmedMs;
}

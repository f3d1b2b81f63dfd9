/**
 * The state of all live data as a pure function of what happened.
 *
 * The socket's messages and the answers of polling go through this one reducer, so a panel cannot tell which
 * of them filled it, except by `source`. Times are milliseconds of this machine's clock; `clockOffsetMs` turns
 * them into the server's.
 */

import type { Problem } from '@/api/problem';
import { nsToMs } from '@/format/time';

import { applyDelta } from './channels';
import { type ClientMessage, type ServerMessage, problemOfMessage } from './protocol';

export interface ChannelState {
  /** The server process that numbered `seq`; empty where the data came by polling and cannot be resumed. */
  epoch: string;
  /** Number of the last message taken, as text. */
  seq: string;
  data: unknown;
  source: 'none' | 'socket' | 'poll';
  /** When the data were last known to be current. */
  confirmedMs: number;
  /** A subscription was sent and neither a snapshot nor the next delta has come yet. */
  awaiting: boolean;
  /** Heartbeats in a row that found the channel behind although nothing is under way. */
  missedBeats: number;
  problem: Problem | null;
}

export interface LiveState {
  socketUp: boolean;
  everConnected: boolean;
  /** When the socket last said anything. */
  lastMessageMs: number;
  /** When a round of polling last brought an answer. */
  lastPollMs: number;
  /** Server clock minus this machine's clock. */
  clockOffsetMs: number;
  /** A problem of the connection as a whole. */
  problem: Problem | null;
  channels: Readonly<Record<string, ChannelState>>;
}

export type LiveEvent =
  | { type: 'opened'; atMs: number }
  | { type: 'lost'; atMs: number }
  | { type: 'message'; message: ServerMessage; atMs: number }
  | { type: 'retain'; ch: string }
  | { type: 'release'; ch: string }
  | { type: 'polled'; ch: string; seq: string; data: unknown; atMs: number }
  | { type: 'pollFailed'; ch: string; problem: Problem; atMs: number };

export interface Step {
  state: LiveState;
  send: ClientMessage[];
}

export const INITIAL: LiveState = {
  socketUp: false,
  everConnected: false,
  lastMessageMs: 0,
  lastPollMs: 0,
  clockOffsetMs: 0,
  problem: null,
  channels: {},
};

const EMPTY: ChannelState = {
  epoch: '',
  seq: '0',
  data: undefined,
  source: 'none',
  confirmedMs: 0,
  awaiting: false,
  missedBeats: 0,
  problem: null,
};

/** The state after an event, and what to send to the server because of it. */
export function reduce(state: LiveState, event: LiveEvent): Step {
  switch (event.type) {
    case 'opened':
      return opened(state, event.atMs);
    case 'lost':
      return still({ ...state, socketUp: false });
    case 'message':
      return onMessage({ ...state, lastMessageMs: event.atMs }, event.message, event.atMs);
    case 'retain':
      return retain(state, event.ch);
    case 'release':
      return release(state, event.ch);
    case 'polled':
      return polled(state, event);
    case 'pollFailed':
      return pollFailed(state, event);
  }
}

function opened(state: LiveState, atMs: number): Step {
  const names = Object.keys(state.channels);
  let next: LiveState = { ...state, socketUp: true, everConnected: true, lastMessageMs: atMs, problem: null };
  for (const ch of names) next = put(next, ch, { awaiting: true, missedBeats: 0 });
  return { state: next, send: [{ type: 'hello' }, ...names.map((ch) => subscription(next, ch))] };
}

function retain(state: LiveState, ch: string): Step {
  if (state.channels[ch]) return still(state);
  const next = { ...state, channels: { ...state.channels, [ch]: { ...EMPTY, awaiting: state.socketUp } } };
  return { state: next, send: state.socketUp ? [subscription(next, ch)] : [] };
}

function release(state: LiveState, ch: string): Step {
  if (!state.channels[ch]) return still(state);
  const { [ch]: _gone, ...channels } = state.channels;
  return { state: { ...state, channels }, send: state.socketUp ? [{ type: 'unsub', ch }] : [] };
}

function onMessage(state: LiveState, message: ServerMessage, atMs: number): Step {
  switch (message.type) {
    case 'welcome':
      return still(withClock(state, message.server_ns, atMs));
    case 'hb':
      return heartbeat(withClock(state, message.server_ns, atMs), message.seqs);
    case 'error':
      return onError(state, message);
    case 'gap':
      return state.channels[message.ch] ? resubscribe(state, message.ch) : still(state);
    case 'snapshot':
      if (!state.channels[message.ch]) return still(state);
      return still(
        put(state, message.ch, {
          epoch: message.epoch,
          seq: message.seq,
          data: message.data,
          source: 'socket',
          confirmedMs: atMs,
          awaiting: false,
          missedBeats: 0,
          problem: null,
        }),
      );
    case 'delta': {
      const channel = state.channels[message.ch];
      if (!channel || channel.data === undefined || channel.epoch === '') return still(state);
      if (BigInt(message.seq) <= BigInt(channel.seq)) return still(state);
      // While a subscription is under way, what does not follow belongs to the time before it.
      if (message.prev !== channel.seq) return channel.awaiting ? still(state) : resubscribe(state, message.ch);
      return still(
        put(state, message.ch, {
          seq: message.seq,
          data: applyDelta(message.ch, channel.data, message.data),
          source: 'socket',
          confirmedMs: atMs,
          awaiting: false,
          missedBeats: 0,
          problem: null,
        }),
      );
    }
  }
}

/** Two heartbeats in a row that find a channel behind, or not subscribed, make the page subscribe again. */
function heartbeat(state: LiveState, seqs: Record<string, string>): Step {
  let next = state;
  const send: ClientMessage[] = [];
  for (const [ch, channel] of Object.entries(state.channels)) {
    if (channel.epoch !== '' && seqs[ch] === channel.seq) {
      if (channel.awaiting || channel.missedBeats || channel.source !== 'socket') {
        next = put(next, ch, { awaiting: false, missedBeats: 0, source: 'socket', problem: null });
      }
    } else if (channel.problem === null && channel.missedBeats >= 1) {
      const step = resubscribe(next, ch);
      next = step.state;
      send.push(...step.send);
    } else {
      next = put(next, ch, { missedBeats: channel.missedBeats + 1 });
    }
  }
  return { state: next, send };
}

function onError(state: LiveState, message: Extract<ServerMessage, { type: 'error' }>): Step {
  const problem = problemOfMessage(message);
  // The gateway names the refused channel in `actual` where it has no field of its own for it.
  const ch = [message.ch, message.actual].find((name) => name !== undefined && state.channels[name]);
  if (ch === undefined) return still({ ...state, problem });
  return still(put(state, ch, { problem, awaiting: false }));
}

function polled(state: LiveState, event: Extract<LiveEvent, { type: 'polled' }>): Step {
  // An answer that was under way when the socket came back is older than what the socket brings.
  if (state.socketUp || !state.channels[event.ch]) return still(state);
  const fresh = { seq: event.seq, data: event.data, confirmedMs: event.atMs };
  const next = put(state, event.ch, { ...fresh, epoch: '', source: 'poll', awaiting: false, problem: null });
  return still({ ...next, lastPollMs: event.atMs, problem: null });
}

function pollFailed(state: LiveState, event: Extract<LiveEvent, { type: 'pollFailed' }>): Step {
  if (state.socketUp || !state.channels[event.ch]) return still(state);
  return still(put(state, event.ch, { problem: event.problem }));
}

function resubscribe(state: LiveState, ch: string): Step {
  const next = put(state, ch, { awaiting: true, missedBeats: 0 });
  return { state: next, send: [subscription(next, ch)] };
}

/** Resumes where the numbers are known, else asks for a snapshot. */
function subscription(state: LiveState, ch: string): ClientMessage {
  const channel = state.channels[ch];
  if (!channel || channel.epoch === '' || channel.data === undefined) return { type: 'sub', ch };
  return { type: 'sub', ch, epoch: channel.epoch, after: channel.seq };
}

function withClock(state: LiveState, serverNs: string, atMs: number): LiveState {
  return { ...state, clockOffsetMs: nsToMs(serverNs) - atMs, problem: null };
}

function put(state: LiveState, ch: string, change: Partial<ChannelState>): LiveState {
  return { ...state, channels: { ...state.channels, [ch]: { ...(state.channels[ch] ?? EMPTY), ...change } } };
}

function still(state: LiveState): Step {
  return { state, send: [] };
}

'use client';

import { useEffect, useMemo, useSyncExternalStore } from 'react';

import type { ChannelState } from './reducer';
import { type ConnectionStatus, type PanelView, connectionStatus, panelView } from './status';
import { LiveStore } from './store';
import type { SocketLike } from './socket';

let store: LiveStore | undefined;

/** The page's one store; made in the browser, on first use. */
export function liveStore(): LiveStore {
  if (store === undefined) {
    store = new LiveStore({ connect: openSocket });
    store.start();
    window.addEventListener('online', () => store?.retry());
  }
  return store;
}

function openSocket(): SocketLike {
  const url = new URL('/ws/ml', window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(url) as SocketLike;
}

const clock = {
  listeners: new Set<() => void>(),
  nowMs: 0,
  timer: undefined as ReturnType<typeof setInterval> | undefined,
  subscribe(listener: () => void) {
    clock.listeners.add(listener);
    clock.timer ??= setInterval(() => {
      clock.nowMs = Date.now();
      clock.listeners.forEach((tell) => tell());
    }, 1_000);
    return () => {
      clock.listeners.delete(listener);
      if (clock.listeners.size === 0) {
        clearInterval(clock.timer);
        clock.timer = undefined;
      }
    };
  },
  read() {
    if (clock.nowMs === 0) clock.nowMs = Date.now();
    return clock.nowMs;
  },
};

/** This machine's time, once a second. */
export function useNowMs(): number {
  return useSyncExternalStore(clock.subscribe, clock.read, () => 0);
}

/** The server's time, once a second. */
export function useServerNowMs(): number {
  return useNowMs() + useClockOffsetMs();
}

export function useClockOffsetMs(): number {
  const live = liveStore();
  const offset = useSyncExternalStore(live.subscribe, () => live.getState().clockOffsetMs, () => 0);
  // A few milliseconds of jitter must not render the page anew.
  return Math.round(offset / 250) * 250;
}

export interface Connection {
  status: ConnectionStatus;
  /** Since the last sign of life. */
  ageMs: number;
  problem: ReturnType<LiveStore['getState']>['problem'];
}

export function useConnection(): Connection {
  const live = liveStore();
  const state = useSyncExternalStore(live.subscribe, live.getState, live.getState);
  const nowMs = useNowMs();
  const lastMs = Math.max(state.lastMessageMs, state.lastPollMs, live.startedMs);
  return {
    status: connectionStatus(state, nowMs, live.startedMs),
    ageMs: Math.max(0, nowMs - lastMs),
    problem: state.problem,
  };
}

export interface Live<T> extends PanelView {
  data: T | undefined;
  retry: () => void;
}

/** A channel's data and how current they are. Follows the channel as long as the component is there. */
export function useChannel<T>(ch: string | null): Live<T> {
  const live = liveStore();
  useEffect(() => (ch === null ? undefined : live.retain(ch)), [live, ch]);
  const state = useSyncExternalStore(live.subscribe, live.getState, live.getState);
  const nowMs = useNowMs();
  const channel: ChannelState | undefined = ch === null ? undefined : state.channels[ch];
  const { status, asOfMs, problem } = panelView(channel, state, nowMs);
  const shownAsOf = Math.floor((asOfMs + state.clockOffsetMs) / 1_000) * 1_000;
  const data = channel?.data as T | undefined;
  return useMemo(
    () => ({ status, asOfMs: shownAsOf, problem, data, retry: () => live.retry() }),
    [status, shownAsOf, problem, data, live],
  );
}

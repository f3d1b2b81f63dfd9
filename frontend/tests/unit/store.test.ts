import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ProblemError, localProblem } from '@/api/problem';
import { POLL_MS } from '@/live/poll';
import type { SocketLike } from '@/live/socket';
import { FLUSH_MS, LiveStore } from '@/live/store';

import { ns } from './helpers';

const sockets: (SocketLike & { sent: string[] })[] = [];
const connect = () => {
  const socket = {
    sent: [] as string[],
    send(text: string) {
      socket.sent.push(text);
    },
    close: () => undefined,
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
  } as SocketLike & { sent: string[] };
  sockets.push(socket);
  return socket;
};
const say = (message: object) => sockets.at(-1)!.onmessage?.({ data: JSON.stringify(message) });
const fetch = vi.fn();
let store: LiveStore;

beforeEach(() => {
  vi.useFakeTimers();
  sockets.length = 0;
  fetch.mockReset().mockImplementation((ch: string) => Promise.resolve({ seq: '5', data: { polled: ch } }));
  store = new LiveStore({ connect, fetch, random: () => 1 });
  store.start();
});

afterEach(() => {
  store.stop();
  vi.useRealTimers();
});

const data = (ch = 'data') => store.getState().channels[ch]?.data;

describe('the store', () => {
  it('gathers a burst of messages into one change', () => {
    store.retain('data');
    sockets[0]!.onopen?.();
    const told = vi.fn();
    store.subscribe(told);
    say({ type: 'snapshot', ch: 'data', epoch: 'e', seq: '1', data: { n: 1 } });
    for (let n = 2; n < 50; n += 1) say({ type: 'delta', ch: 'data', seq: `${n}`, prev: `${n - 1}`, data: { n } });
    expect(told).not.toHaveBeenCalled();
    vi.advanceTimersByTime(FLUSH_MS);
    expect(told).toHaveBeenCalledTimes(1);
    expect(data()).toEqual({ n: 49 });
  });

  it('subscribes once for several users and ends with the last', () => {
    sockets[0]!.onopen?.();
    const first = store.retain('signals');
    const second = store.retain('signals');
    first();
    first();
    expect(sockets[0]!.sent.filter((text) => text.includes('unsub'))).toHaveLength(0);
    second();
    expect(sockets[0]!.sent.map((text) => JSON.parse(text).type)).toEqual(['hello', 'sub', 'unsub']);
  });

  it('polls every 4 s while the socket is away, and stops when it is back', async () => {
    store.retain('data');
    sockets[0]!.onopen?.();
    sockets[0]!.onclose?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(data()).toEqual({ polled: 'data' });
    await vi.advanceTimersByTimeAsync(2 * POLL_MS + 10);
    expect(fetch).toHaveBeenCalledTimes(3);
    sockets.at(-1)!.onopen?.();
    say({ type: 'welcome', epoch: 'e', server_ns: ns(0) });
    say({ type: 'snapshot', ch: 'data', epoch: 'e', seq: '1', data: { live: true } });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(fetch).toHaveBeenCalledTimes(3);
    expect(data()).toEqual({ live: true });
  });

  it('asks at once for a channel that is followed while polling', async () => {
    sockets[0]!.onclose?.();
    store.retain('bars:PETR4');
    await vi.advanceTimersByTimeAsync(0);
    expect(data('bars:PETR4')).toEqual({ polled: 'bars:PETR4' });
  });

  it('keeps the problem of a call that failed', async () => {
    fetch.mockRejectedValue(new ProblemError(localProblem('unreachable', 'refused')));
    store.retain('data');
    sockets[0]!.onclose?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(store.getState().channels.data?.problem?.code).toBe('unreachable');
  });
});

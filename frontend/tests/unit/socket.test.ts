import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { ServerMessage } from '@/live/protocol';
import { CONNECT_TIMEOUT_MS, LiveSocket, RETRY_MAX_MS, RETRY_MIN_MS, SILENCE_MS, type SocketLike, retryDelayMs } from '@/live/socket';

class FakeSocket implements SocketLike {
  static all: FakeSocket[] = [];
  sent: string[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;

  constructor() {
    FakeSocket.all.push(this);
  }

  send(text: string) {
    this.sent.push(text);
  }

  close() {
    this.closed = true;
  }
}

const HB = JSON.stringify({ type: 'hb', server_ns: '1', seqs: {} });
const newest = () => FakeSocket.all.at(-1)!;
let heard: ServerMessage[];
let lost: number;
let socket: LiveSocket;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  heard = [];
  lost = 0;
  const events = { onOpen: () => undefined, onMessage: (m: ServerMessage) => void heard.push(m), onLost: () => void (lost += 1) };
  socket = new LiveSocket(() => new FakeSocket(), events, () => 1);
  socket.start();
});

afterEach(() => {
  socket.stop();
  vi.useRealTimers();
});

describe('the socket', () => {
  it('lives as long as heartbeats come', () => {
    newest().onopen?.();
    for (let n = 0; n < 10; n += 1) {
      vi.advanceTimersByTime(2_000);
      newest().onmessage?.({ data: HB });
    }
    expect(lost).toBe(0);
    expect(heard).toHaveLength(10);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('is given up after two missed heartbeats, within 5 s, and comes back', () => {
    newest().onopen?.();
    vi.advanceTimersByTime(SILENCE_MS - 1);
    expect(lost).toBe(0);
    vi.advanceTimersByTime(1);
    expect(lost).toBe(1);
    expect(SILENCE_MS).toBeLessThanOrEqual(5_000);
    expect(FakeSocket.all[0]!.closed).toBe(true);
    vi.advanceTimersByTime(1_000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('is given up when it never opens', () => {
    vi.advanceTimersByTime(CONNECT_TIMEOUT_MS);
    expect(lost).toBe(1);
  });

  it('waits longer from failure to failure and is patient again after a message', () => {
    const waits: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      const before = Date.now();
      const count = FakeSocket.all.length;
      newest().onclose?.();
      while (FakeSocket.all.length === count) vi.advanceTimersByTime(100);
      waits.push(Date.now() - before);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    newest().onopen?.();
    newest().onmessage?.({ data: HB });
    newest().onclose?.();
    vi.advanceTimersByTime(1_000);
    expect(FakeSocket.all).toHaveLength(8);
  });

  it('connects at once when asked to', () => {
    newest().onclose?.();
    socket.reconnectNow();
    expect(FakeSocket.all).toHaveLength(2);
    vi.advanceTimersByTime(7_000);
    expect(FakeSocket.all).toHaveLength(2);
  });

  it('hears nothing from a socket that it has left', () => {
    const first = newest();
    first.onopen?.();
    socket.stop();
    first.onmessage?.({ data: HB });
    expect(heard).toEqual([]);
    expect(first.closed).toBe(true);
  });

  it('ignores what is no message', () => {
    newest().onopen?.();
    for (const data of ['', '{', '[]', '{"type":"other"}', 7]) newest().onmessage?.({ data });
    expect(heard).toEqual([]);
  });
});

describe('the pause before another attempt', () => {
  it('lies between 0.5 s and 15 s', () => {
    for (let attempt = 1; attempt < 40; attempt += 1) {
      expect(retryDelayMs(attempt, 0)).toBe(RETRY_MIN_MS);
      expect(retryDelayMs(attempt, 1)).toBeLessThanOrEqual(RETRY_MAX_MS);
    }
  });
});

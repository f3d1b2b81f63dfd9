import { describe, expect, it } from 'vitest';

import { INITIAL, type LiveState, reduce } from '@/live/reducer';
import { connectionStatus, panelView } from '@/live/status';

const opened = (): LiveState => {
  let state = reduce(INITIAL, { type: 'retain', ch: 'data' }).state;
  state = reduce(state, { type: 'opened', atMs: 1_000 }).state;
  const message = { type: 'snapshot', ch: 'data', epoch: 'e', seq: '1', data: {} } as const;
  return reduce(state, { type: 'message', message, atMs: 1_100 }).state;
};

const view = (state: LiveState, nowMs: number) => panelView(state.channels.data, state, nowMs);

describe('a panel', () => {
  it('loads until something comes', () => {
    const state = reduce(INITIAL, { type: 'retain', ch: 'data' }).state;
    expect(view(state, 0).status).toBe('loading');
  });

  it('is live while the socket speaks', () => {
    expect(view(opened(), 90_000)).toMatchObject({ status: 'live', asOfMs: 1_100 });
  });

  it('is stale at once when the socket is lost, as of its last word', () => {
    const state = reduce(opened(), { type: 'lost', atMs: 6_000 }).state;
    expect(view(state, 6_000)).toMatchObject({ status: 'stale', asOfMs: 1_100 });
  });

  it('polls while answers come, and is stale when they stop', () => {
    let state = reduce(opened(), { type: 'lost', atMs: 6_000 }).state;
    state = reduce(state, { type: 'polled', ch: 'data', seq: '0', data: {}, atMs: 7_000 }).state;
    expect(view(state, 8_000).status).toBe('polling');
    expect(view(state, 30_000)).toMatchObject({ status: 'stale', asOfMs: 7_000 });
  });

  it('is an error only where there is nothing to show', () => {
    const problem = { code: 'unreachable', title: '', expected: '', actual: '', remedy: '', status: 0 };
    const failed = { type: 'pollFailed', ch: 'data', problem, atMs: 0 } as const;
    const fresh = reduce(reduce(INITIAL, { type: 'retain', ch: 'data' }).state, failed).state;
    expect(view(fresh, 0).status).toBe('error');
    const old = reduce(reduce(opened(), { type: 'lost', atMs: 2_000 }).state, failed).state;
    expect(view(old, 9_000)).toMatchObject({ status: 'stale', problem });
  });
});

describe('the connection', () => {
  it('goes from connecting over live and polling to stale', () => {
    expect(connectionStatus(INITIAL, 500, 0)).toBe('connecting');
    expect(connectionStatus(INITIAL, 5_000, 0)).toBe('stale');
    const live = opened();
    expect(connectionStatus(live, 5_000, 0)).toBe('live');
    let lost = reduce(live, { type: 'lost', atMs: 6_000 }).state;
    expect(connectionStatus(lost, 6_000, 0)).toBe('stale');
    lost = reduce(lost, { type: 'polled', ch: 'data', seq: '0', data: {}, atMs: 7_000 }).state;
    expect(connectionStatus(lost, 7_500, 0)).toBe('polling');
  });
});

import { describe, expect, it } from 'vitest';

import type { BarItem, ExperimentItem, Items, SignalItem } from '@/api/types';
import type { ClientMessage, ServerMessage } from '@/live/protocol';
import { INITIAL, type LiveEvent, type LiveState, reduce } from '@/live/reducer';

import { bar, experiment, ns, signal } from './helpers';

/** Plays events and keeps what was sent. */
class Player {
  state: LiveState = INITIAL;
  sent: ClientMessage[] = [];

  take(event: LiveEvent): this {
    const step = reduce(this.state, event);
    this.state = step.state;
    this.sent.push(...step.send);
    return this;
  }

  say(message: ServerMessage, atMs = 1_000): this {
    return this.take({ type: 'message', message, atMs });
  }

  clear(): this {
    this.sent = [];
    return this;
  }

  channel(ch: string) {
    return this.state.channels[ch]!;
  }

  ids(): string[] {
    return (this.channel('signals').data as Items<SignalItem>).items.map((item) => item.signal_id);
  }
}

const snapshot = (seq: string, items: unknown[], ch = 'signals', epoch = 'e1'): ServerMessage => ({
  type: 'snapshot',
  ch,
  epoch,
  seq,
  data: { items },
});

const delta = (seq: number, data: unknown = signal(seq), ch = 'signals', prev = seq - 1): ServerMessage => ({
  type: 'delta',
  ch,
  seq: String(seq),
  prev: String(prev),
  data,
});

const hb = (seqs: Record<string, string>): ServerMessage => ({ type: 'hb', server_ns: ns(0), seqs });

const following = () =>
  new Player()
    .take({ type: 'retain', ch: 'signals' })
    .take({ type: 'opened', atMs: 0 })
    .say(snapshot('10', [signal(9), signal(10)]))
    .clear();

describe('a subscription', () => {
  it('is sent when the socket opens, after the greeting', () => {
    const player = new Player().take({ type: 'retain', ch: 'data' });
    expect(player.sent).toEqual([]);
    player.take({ type: 'opened', atMs: 0 });
    expect(player.sent).toEqual([{ type: 'hello' }, { type: 'sub', ch: 'data' }]);
  });

  it('is sent at once while the socket is open, and ended when nobody looks', () => {
    const player = new Player().take({ type: 'opened', atMs: 0 }).clear();
    player.take({ type: 'retain', ch: 'signals' }).take({ type: 'release', ch: 'signals' });
    expect(player.sent).toEqual([
      { type: 'sub', ch: 'signals' },
      { type: 'unsub', ch: 'signals' },
    ]);
    expect(player.state.channels).toEqual({});
  });

  it('resumes after the last number when the socket comes back', () => {
    const player = following().take({ type: 'lost', atMs: 5 }).take({ type: 'opened', atMs: 9 });
    expect(player.sent).toContainEqual({ type: 'sub', ch: 'signals', epoch: 'e1', after: '10' });
  });
});

describe('deltas', () => {
  it('that follow are taken in order', () => {
    const player = following().say(delta(11)).say(delta(12));
    expect(player.ids()).toEqual(['s9', 's10', 's11', 's12']);
    expect(player.channel('signals').seq).toBe('12');
    expect(player.sent).toEqual([]);
  });

  it('that were seen before are dropped', () => {
    const player = following().say(delta(11)).say(delta(11)).say(delta(10));
    expect(player.ids()).toEqual(['s9', 's10', 's11']);
  });

  it('that leave a hole make the page subscribe again, once', () => {
    const player = following().say(delta(13)).say(delta(14));
    expect(player.sent).toEqual([{ type: 'sub', ch: 'signals', epoch: 'e1', after: '10' }]);
    expect(player.ids()).toEqual(['s9', 's10']);
    player.say(delta(11)).say(delta(12)).say(delta(13));
    expect(player.ids()).toEqual(['s9', 's10', 's11', 's12', 's13']);
    expect(player.channel('signals').awaiting).toBe(false);
  });

  it('compare as whole numbers beyond 2**53', () => {
    const big = '9007199254740993';
    const player = following().say(snapshot(big, []));
    player.say({ type: 'delta', ch: 'signals', seq: '9007199254740994', prev: big, data: signal(1) });
    expect(player.ids()).toEqual(['s1']);
  });

  it('of a channel that nobody follows are ignored', () => {
    const player = following().say(delta(3, bar(3), 'bars:PETR4'));
    expect(Object.keys(player.state.channels)).toEqual(['signals']);
  });
});

describe('a gap', () => {
  it('makes the page subscribe again where it was', () => {
    const player = following().say({ type: 'gap', ch: 'signals' });
    expect(player.sent).toEqual([{ type: 'sub', ch: 'signals', epoch: 'e1', after: '10' }]);
    expect(player.channel('signals').awaiting).toBe(true);
  });

  it('is closed by a snapshot of a new epoch', () => {
    const player = following().say(snapshot('2', [signal(40)], 'signals', 'e2')).say(delta(3, signal(41)));
    expect(player.ids()).toEqual(['s40', 's41']);
    expect(player.channel('signals').epoch).toBe('e2');
  });
});

describe('heartbeats', () => {
  it('set the clock and settle a resumption that had nothing to send', () => {
    const player = following().take({ type: 'lost', atMs: 5 }).take({ type: 'opened', atMs: 9 }).clear();
    expect(player.channel('signals').awaiting).toBe(true);
    player.say(hb({ signals: '10' }), 2_000);
    expect(player.channel('signals').awaiting).toBe(false);
    expect(player.state.clockOffsetMs).toBe(1_795_435_200_123 - 2_000);
  });

  it('that find a channel behind twice make the page subscribe again', () => {
    const player = following().say(hb({ signals: '12' }));
    expect(player.sent).toEqual([]);
    player.say(hb({ signals: '12' }));
    expect(player.sent).toEqual([{ type: 'sub', ch: 'signals', epoch: 'e1', after: '10' }]);
  });

  it('that do not know a channel count as behind', () => {
    const player = following().say(hb({})).say(hb({}));
    expect(player.sent).toHaveLength(1);
  });
});

describe('polling', () => {
  const polled: LiveEvent = { type: 'polled', ch: 'signals', seq: '30', data: { items: [signal(30)] }, atMs: 7_000 };

  it('fills the same state while there is no socket', () => {
    const player = following().take({ type: 'lost', atMs: 5_000 }).take(polled);
    expect(player.ids()).toEqual(['s30']);
    expect(player.channel('signals').source).toBe('poll');
    expect(player.state.lastPollMs).toBe(7_000);
  });

  it('is followed by a snapshot, because its numbers belong to no epoch', () => {
    const player = following().take({ type: 'lost', atMs: 5_000 }).take(polled).clear();
    player.take({ type: 'opened', atMs: 8_000 });
    expect(player.sent).toContainEqual({ type: 'sub', ch: 'signals' });
    player.say(delta(31));
    expect(player.ids()).toEqual(['s30']);
    player.say(snapshot('31', [signal(30), signal(31)]));
    expect(player.ids()).toEqual(['s30', 's31']);
  });

  it('is ignored once the socket is back', () => {
    expect(following().take(polled).ids()).toEqual(['s9', 's10']);
  });

  it('that fails keeps what is there and says why', () => {
    const problem = { code: 'unreachable', title: '', expected: '', actual: 'refused', remedy: '', status: 0 };
    const player = following().take({ type: 'lost', atMs: 5 });
    player.take({ type: 'pollFailed', ch: 'signals', problem, atMs: 6 });
    expect(player.ids()).toEqual(['s9', 's10']);
    expect(player.channel('signals').problem).toEqual(problem);
  });
});

describe('an error of the server', () => {
  it('about a channel stays with it; one about anything else is the connection’s', () => {
    const player = new Player().take({ type: 'retain', ch: 'bars:NOPE' }).take({ type: 'opened', atMs: 0 });
    player.say({ type: 'error', code: 'unknown_channel', expected: 'x', actual: 'bars:NOPE', remedy: 'y' });
    expect(player.channel('bars:NOPE').problem?.code).toBe('unknown_channel');
    expect(player.state.problem).toBeNull();
    player.say({ type: 'error', code: 'bad_message', expected: 'x', actual: 'z', remedy: 'y' });
    expect(player.state.problem?.code).toBe('bad_message');
  });
});

describe('lists', () => {
  it('of signals are bounded and hold nothing twice', () => {
    const player = following();
    for (let n = 11; n < 400; n += 1) player.say(delta(n));
    player.say(delta(400, signal(399)));
    expect(player.ids()).toHaveLength(200);
    expect(player.ids().at(-1)).toBe('s399');
  });

  it('of bars begin anew with a newer stream and drop an older one', () => {
    const player = new Player().take({ type: 'retain', ch: 'bars:WINZ26' }).take({ type: 'opened', atMs: 0 });
    player.say(snapshot('5', [bar(7), bar(8)], 'bars:WINZ26'));
    player.say(delta(6, bar(9), 'bars:WINZ26')).say(delta(7, bar(3, { stream: '3' }), 'bars:WINZ26'));
    const seqs = () => (player.channel('bars:WINZ26').data as Items<BarItem>).items.map((item) => item.seq);
    expect(seqs()).toEqual(['7', '8', '9']);
    player.say(delta(8, bar(0, { stream: '10' }), 'bars:WINZ26'));
    expect(seqs()).toEqual(['0']);
  });

  it('of experiments change in place, and a new one comes first', () => {
    const player = new Player().take({ type: 'retain', ch: 'experiments' }).take({ type: 'opened', atMs: 0 });
    player.say(snapshot('1', [experiment('b'), experiment('a')], 'experiments'));
    player.say(delta(2, experiment('a', { progress: 0.9 }), 'experiments'));
    player.say(delta(3, experiment('c'), 'experiments'));
    const items = (player.channel('experiments').data as Items<ExperimentItem>).items;
    expect(items.map((item) => `${item.id}:${item.progress}`)).toEqual(['c:0.5', 'b:0.5', 'a:0.9']);
  });
});

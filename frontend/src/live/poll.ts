/** Asks for the channels' data by HTTP while there is no socket. */

import { api, problemOfError, unwrap } from '@/api/client';
import type { Problem } from '@/api/problem';

import { DATA, EXPERIMENTS, KEPT, SIGNALS, symbolOfChannel } from './channels';

export const POLL_MS = 4_000;
export const POLL_TIMEOUT_MS = 3_500;

export interface Polled {
  seq: string;
  data: unknown;
}

/** A channel's whole data, in the shape of its snapshot. */
export type FetchChannel = (ch: string, signal: AbortSignal) => Promise<Polled>;

export const fetchChannel: FetchChannel = async (ch, signal) => {
  if (ch === DATA) return { seq: '0', data: await unwrap(api.GET('/ml/data/status', { signal })) };
  const list = await fetchList(ch, signal);
  return { seq: list.seq, data: { items: list.items } };
};

function fetchList(ch: string, signal: AbortSignal): Promise<{ items: unknown[]; seq: string }> {
  if (ch === SIGNALS) return unwrap(api.GET('/ml/signals', { params: { query: { limit: KEPT.signals } }, signal }));
  if (ch === EXPERIMENTS) {
    return unwrap(api.GET('/ml/experiments', { params: { query: { limit: KEPT.experiments } }, signal }));
  }
  const symbol = symbolOfChannel(ch);
  if (symbol === null) throw new Error(`no call gives the data of channel ${ch}`);
  return unwrap(api.GET('/ml/bars', { params: { query: { symbol, limit: KEPT.bars } }, signal }));
}

export interface PollEvents {
  channels(): string[];
  onPolled(ch: string, polled: Polled): void;
  onFailed(ch: string, problem: Problem): void;
}

export class Poller {
  private round: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly events: PollEvents,
    private readonly fetch: FetchChannel = fetchChannel,
  ) {}

  get running(): boolean {
    return this.round !== null;
  }

  /** Begin with a round at once; asked again while running, a round starts over. */
  start(): void {
    this.stop();
    this.round = new AbortController();
    void this.poll(this.round);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.round?.abort();
    this.round = null;
  }

  private async poll(round: AbortController): Promise<void> {
    const signal = AbortSignal.any([round.signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]);
    await Promise.all(
      this.events.channels().map(async (ch) => {
        try {
          const polled = await this.fetch(ch, signal);
          if (!round.signal.aborted) this.events.onPolled(ch, polled);
        } catch (error) {
          if (!round.signal.aborted) this.events.onFailed(ch, problemOfError(error));
        }
      }),
    );
    if (!round.signal.aborted) this.timer = setTimeout(() => void this.poll(round), POLL_MS);
  }
}

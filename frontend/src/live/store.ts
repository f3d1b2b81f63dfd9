/** Live data outside React: one socket, one poller, one reducer; components read it by `useSyncExternalStore`. */

import { Poller, type FetchChannel, fetchChannel } from './poll';
import type { ServerMessage } from './protocol';
import { INITIAL, type LiveEvent, type LiveState, reduce } from './reducer';
import { LiveSocket, type SocketLike } from './socket';

/** Messages are gathered this long, so that a burst costs one rendering. */
export const FLUSH_MS = 100;

export interface StoreOptions {
  connect: () => SocketLike;
  fetch?: FetchChannel;
  now?: () => number;
  random?: () => number;
}

export class LiveStore {
  readonly startedMs: number;
  private state: LiveState = INITIAL;
  private readonly listeners = new Set<() => void>();
  private readonly users = new Map<string, number>();
  private queue: { message: ServerMessage; atMs: number }[] = [];
  private flushTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly socket: LiveSocket;
  private readonly poller: Poller;
  private readonly now: () => number;

  constructor(options: StoreOptions) {
    this.now = options.now ?? Date.now;
    this.startedMs = this.now();
    this.socket = new LiveSocket(
      options.connect,
      {
        onOpen: () => {
          this.poller.stop();
          this.take({ type: 'opened', atMs: this.now() });
        },
        onMessage: (message) => this.enqueue(message),
        onLost: () => {
          this.flush();
          this.take({ type: 'lost', atMs: this.now() });
          if (!this.poller.running) this.poller.start();
        },
      },
      options.random,
    );
    this.poller = new Poller(
      {
        channels: () => Object.keys(this.state.channels),
        onPolled: (ch, polled) => this.take({ type: 'polled', ch, ...polled, atMs: this.now() }),
        onFailed: (ch, problem) => this.take({ type: 'pollFailed', ch, problem, atMs: this.now() }),
      },
      options.fetch ?? fetchChannel,
    );
  }

  start(): void {
    this.socket.start();
  }

  stop(): void {
    clearTimeout(this.flushTimer);
    this.socket.stop();
    this.poller.stop();
  }

  readonly getState = (): LiveState => this.state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Follow a channel; the returned function ends it, the last one of several unsubscribes. */
  retain(ch: string): () => void {
    const users = this.users.get(ch) ?? 0;
    this.users.set(ch, users + 1);
    if (users === 0) {
      this.take({ type: 'retain', ch });
      if (this.poller.running) this.poller.start();
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = (this.users.get(ch) ?? 1) - 1;
      this.users.set(ch, left);
      if (left === 0) {
        this.users.delete(ch);
        this.take({ type: 'release', ch });
      }
    };
  }

  /** The reader does not want to wait: connect and ask now. */
  retry(): void {
    this.socket.reconnectNow();
    if (this.poller.running) this.poller.start();
  }

  private enqueue(message: ServerMessage): void {
    this.queue.push({ message, atMs: this.now() });
    this.flushTimer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  private flush(): void {
    clearTimeout(this.flushTimer);
    this.flushTimer = undefined;
    const queue = this.queue;
    this.queue = [];
    for (const { message, atMs } of queue) this.step({ type: 'message', message, atMs });
    if (queue.length > 0) this.notify();
  }

  private take(event: LiveEvent): void {
    this.step(event);
    this.notify();
  }

  private step(event: LiveEvent): void {
    const { state, send } = reduce(this.state, event);
    this.state = state;
    for (const message of send) this.socket.send(message);
  }

  private notify(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

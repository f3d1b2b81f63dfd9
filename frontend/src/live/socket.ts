/** One WebSocket that comes back by itself: silence of two heartbeats ends it, a random pause restarts it. */

import { type ClientMessage, type ServerMessage, parseMessage } from './protocol';

export const HEARTBEAT_MS = 2_000;
/** Two missed heartbeats, and a little for the way. */
export const SILENCE_MS = 2 * HEARTBEAT_MS + 500;
export const CONNECT_TIMEOUT_MS = 8_000;
export const RETRY_MIN_MS = 500;
export const RETRY_MAX_MS = 15_000;

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  onerror: (() => void) | null;
}

export interface SocketEvents {
  onOpen(): void;
  onMessage(message: ServerMessage): void;
  onLost(): void;
}

/** Pause before attempt `attempt` (from 1): random, between 0.5 s and a bound that doubles up to 15 s. */
export function retryDelayMs(attempt: number, random: number): number {
  const bound = Math.min(RETRY_MAX_MS, 2 * RETRY_MIN_MS * 2 ** (attempt - 1));
  return RETRY_MIN_MS + random * (bound - RETRY_MIN_MS);
}

export class LiveSocket {
  private socket: SocketLike | null = null;
  private open = false;
  private running = false;
  private attempt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly connect: () => SocketLike,
    private readonly events: SocketEvents,
    private readonly random: () => number = Math.random,
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.begin();
  }

  stop(): void {
    this.running = false;
    this.drop();
  }

  /** Do not wait for the pause to pass. */
  reconnectNow(): void {
    if (!this.running || this.open) return;
    this.drop();
    this.attempt = 0;
    this.begin();
  }

  send(message: ClientMessage): void {
    if (this.open) this.socket?.send(JSON.stringify(message));
  }

  private begin(): void {
    const socket = this.connect();
    this.socket = socket;
    this.watch(CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      this.open = true;
      this.watch(SILENCE_MS);
      this.events.onOpen();
    };
    socket.onmessage = ({ data }) => {
      this.watch(SILENCE_MS);
      const message = typeof data === 'string' ? parseMessage(data) : null;
      if (message === null) return;
      // Only a server that speaks ends the growth of the pauses; one that accepts and drops us does not.
      this.attempt = 0;
      this.events.onMessage(message);
    };
    socket.onclose = () => this.lost();
    // A close follows every error, and the browser has said its word on the console.
    socket.onerror = null;
  }

  private watch(afterMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.lost(), afterMs);
  }

  private lost(): void {
    this.drop();
    this.events.onLost();
    if (!this.running) return;
    this.attempt += 1;
    this.timer = setTimeout(() => this.begin(), retryDelayMs(this.attempt, this.random()));
  }

  private drop(): void {
    clearTimeout(this.timer);
    this.open = false;
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
  }
}

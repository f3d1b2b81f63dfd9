/** Messages of `WS /ws/ml`. Sequence numbers are 64-bit and travel as text. */

import type { Problem } from '@/api/problem';

export interface Welcome {
  type: 'welcome';
  epoch: string;
  server_ns: string;
}

export interface Snapshot {
  type: 'snapshot';
  ch: string;
  epoch: string;
  seq: string;
  data: unknown;
}

export interface Delta {
  type: 'delta';
  ch: string;
  seq: string;
  prev: string;
  data: unknown;
}

export interface Gap {
  type: 'gap';
  ch: string;
}

export interface Heartbeat {
  type: 'hb';
  server_ns: string;
  seqs: Record<string, string>;
}

export interface ServerError {
  type: 'error';
  code: string;
  expected: string;
  actual: string;
  remedy: string;
  ch?: string;
}

export type ServerMessage = Welcome | Snapshot | Delta | Gap | Heartbeat | ServerError;

export type ClientMessage =
  | { type: 'hello' }
  | { type: 'sub'; ch: string; epoch?: string; after?: string }
  | { type: 'unsub'; ch: string };

const TYPES = new Set(['welcome', 'snapshot', 'delta', 'gap', 'hb', 'error']);

/** The message in a text, or null where it is none that this page knows. */
export function parseMessage(text: string): ServerMessage | null {
  try {
    const value: unknown = JSON.parse(text);
    const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
    return typeof type === 'string' && TYPES.has(type) ? (value as ServerMessage) : null;
  } catch {
    return null;
  }
}

export function problemOfMessage(message: ServerError): Problem {
  return { ...message, title: '', status: 0 };
}

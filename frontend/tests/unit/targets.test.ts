import { describe, expect, it } from 'vitest';

import { newestByHolder, targets } from '@/features/signals/targets';

import { signal } from './helpers';

const items = [
  signal(1, { side: 1 }),
  signal(2, { side: -1, role: 'challenger', mode: 'shadow' }),
  signal(3, { symbol: 'PETR4', side: -1, role: 'challenger', mode: 'shadow' }),
  signal(4, { side: 0 }),
  signal(5, { side: 1, role: 'challenger', mode: 'shadow' }),
];

describe('target positions', () => {
  it('are the champion’s, and the challenger’s where no champion has spoken', () => {
    expect(targets(items).map((item) => `${item.symbol}:${item.role}:${item.side}`)).toEqual([
      'PETR4:challenger:-1',
      'WINZ26:champion:0',
    ]);
  });

  it('of both roles are in force side by side', () => {
    expect([...newestByHolder(items).values()].map((item) => item.signal_id).sort()).toEqual(['s3', 's4', 's5']);
  });
});

import { describe, expect, it } from 'vitest';
import { createTranslator } from 'use-intl/core';

import en from '@messages/en.json';
import ptBR from '@messages/pt-BR.json';

type Tree = { [key: string]: string | Tree };

function flat(tree: Tree, path = ''): Map<string, string> {
  return new Map(
    Object.entries(tree).flatMap(([key, value]) =>
      typeof value === 'string' ? [[path + key, value] as const] : [...flat(value, `${path}${key}.`)],
    ),
  );
}

/** Names of a message's arguments, however they are used; the texts of plurals and choices are no names. */
const args = (message: string) => {
  const open = message.replaceAll(/(=\d+|one|other|ready|up)\s*\{/g, '');
  return new Set([...open.matchAll(/\{(\w+)[,}]/g)].map((match) => match[1]));
};

const english = flat(en);
const portuguese = flat(ptBR);

describe('messages', () => {
  it('have the same keys in both languages', () => {
    expect([...portuguese.keys()].sort()).toEqual([...english.keys()].sort());
  });

  it.each([...english.keys()])('%s takes the same arguments in both', (key) => {
    expect(args(portuguese.get(key)!)).toEqual(args(english.get(key)!));
  });

  it('are all translated, but for words that are the same', () => {
    const same = [...english].filter(([key, text]) => portuguese.get(key) === text).map(([key]) => key);
    const shared = /^(age\.|zone\.utc|page\.title|problem\.actual|champion\.digest|flow\.(title|features|perSecond)|prices\.volume|signals\.column\.score)/;
    expect(same.filter((key) => !shared.test(key))).toEqual([]);
  });

  it.each([
    ['en', en],
    ['pt-BR', ptBR],
  ] as const)('of %s can be parsed', (locale, messages) => {
    const values = { value: 1, zone: 'UTC', now: 'a', next: 'b', time: 't', code: 'c', n: 2, name: 'x', state: 'up' };
    const more = { symbol: 's', spec: 'p', from: 'f', to: 't', low: 'l', high: 'h', last: 'z', signals: 2, of: 3 };
    const rest = { id: 'e', side: 'long', others: 1, bars: 'b', age: 'a', held: 1 };
    const t = createTranslator({ locale, messages, onError: (error) => { throw error; } }) as unknown as (key: string, values: object) => string;
    for (const key of english.keys()) expect(t(key, { ...values, ...more, ...rest })).not.toMatch(/[{}]/);
  });
});

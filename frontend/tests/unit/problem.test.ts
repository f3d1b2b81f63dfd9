import { describe, expect, it } from 'vitest';

import { unwrap } from '@/api/client';
import { ProblemError, problemOf } from '@/api/problem';

const failed = async (call: Promise<unknown>) => {
  const error: unknown = await call.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ProblemError);
  return (error as ProblemError).problem;
};

describe('a failed call', () => {
  it('tells what the gateway says', async () => {
    const body = { code: 'invalid_request', title: 't', expected: 'e', actual: 'a', remedy: 'r', status: 422, field: 'config.name' };
    const problem = await failed(unwrap(Promise.resolve({ error: body, response: new Response(null, { status: 422 }) })));
    expect(problem).toEqual(body);
  });

  it('without a problem in it tells the status', () => {
    expect(problemOf('<html>', 502)).toMatchObject({ code: 'bad_answer', actual: 'HTTP 502', status: 502 });
  });

  it('that never arrived is unreachable', async () => {
    expect(await failed(unwrap(Promise.reject(new TypeError('Failed to fetch'))))).toMatchObject({ code: 'unreachable' });
  });

  it('whose answer is no JSON cannot be read', async () => {
    expect(await failed(unwrap(Promise.reject(new SyntaxError('Unexpected token'))))).toMatchObject({ code: 'bad_answer' });
  });
});

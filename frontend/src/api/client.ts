import createClient from 'openapi-fetch';

import { BAD_ANSWER, UNREACHABLE, ProblemError, localProblem, problemOf } from './problem';
import type { paths } from './schema.gen';

/** The gateway serves the page, so every call goes to the page's own origin. */
export const api = createClient<paths>({ baseUrl: '', headers: { accept: 'application/json' } });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/**
 * The data of an answer.
 *
 * @throws ProblemError with the gateway's problem, or one of the page's own where no usable answer came.
 */
export async function unwrap<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch (error) {
    if (error instanceof SyntaxError) throw new ProblemError(localProblem(BAD_ANSWER, error.message));
    throw new ProblemError(localProblem(UNREACHABLE, error instanceof Error ? error.message : String(error)));
  }
  if (!answer.response.ok) throw new ProblemError(problemOf(answer.error, answer.response.status));
  if (answer.data === undefined) {
    throw new ProblemError(localProblem(BAD_ANSWER, `HTTP ${answer.response.status}`, answer.response.status));
  }
  return answer.data;
}

/** The problem of anything thrown by {@link unwrap}. */
export function problemOfError(error: unknown): ProblemError['problem'] {
  return error instanceof ProblemError ? error.problem : localProblem(BAD_ANSWER, String(error));
}

/** What went wrong, as the gateway says it (`application/problem+json`) or as the page found out by itself. */
export interface Problem {
  code: string;
  title: string;
  expected: string;
  actual: string;
  remedy: string;
  status: number;
  field?: string | null;
}

/** Codes of problems that the page itself finds; their texts are in `messages/`. */
export const UNREACHABLE = 'unreachable';
export const BAD_ANSWER = 'bad_answer';
export const LOGIN_REQUIRED = 'login_required';

export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

/** A problem of the page's own; `actual` is what was seen, the rest is worded in the reader's language. */
export function localProblem(code: string, actual: string, status = 0): Problem {
  return { code, title: '', expected: '', actual, remedy: '', status };
}

/** The problem in a failed answer, whatever its body is. */
export function problemOf(body: unknown, status: number): Problem {
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  if (typeof fields.code !== 'string') return localProblem(BAD_ANSWER, `HTTP ${status}`, status);
  const text = (name: string) => (typeof fields[name] === 'string' ? (fields[name] as string) : '');
  return {
    code: fields.code,
    title: text('title'),
    expected: text('expected'),
    actual: text('actual'),
    remedy: text('remedy'),
    status,
    field: typeof fields.field === 'string' ? fields.field : null,
  };
}

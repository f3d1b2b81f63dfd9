/** The page's colours for the canvas: the same names as in `globals.css`, resolved for the theme in force. */

const NAMES = ['ink', 'ink-2', 'ink-3', 'line', 'line-strong', 'panel', 'accent', 'up', 'down'] as const;
type Name = (typeof NAMES)[number];

export type Tokens = Record<Name, string> & { font: string };

/** Resolved through an element's colour, because a custom property itself stays the text it was given. */
export function readTokens(host: HTMLElement): Tokens {
  const probe = document.createElement('span');
  host.append(probe);
  const tokens = {} as Tokens;
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    tokens[name] = getComputedStyle(probe).color;
  }
  tokens.font = `11px ${getComputedStyle(host).fontFamily}`;
  probe.remove();
  return tokens;
}

/** A reader's choices that outlive the page. A browser that forbids storage just forgets them. */

export function readStored(key: string): string | null {
  try {
    return window.localStorage.getItem(`tapelab.${key}`);
  } catch {
    return null;
  }
}

export function writeStored(key: string, value: string | null): void {
  try {
    if (value === null) window.localStorage.removeItem(`tapelab.${key}`);
    else window.localStorage.setItem(`tapelab.${key}`, value);
  } catch {
    // Nothing to do: the choice holds until the page is left.
  }
}

import type en from '../../messages/en.json';

import type { Locale } from './state';

// Keys of messages are checked by the compiler.
declare module 'use-intl' {
  interface AppConfig {
    Messages: typeof en;
    Locale: Locale;
  }
}

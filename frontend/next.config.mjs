import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** A static export: the gateway serves `out/`, and no Node runs behind the page. */
export default {
  output: 'export',
  trailingSlash: true,
  reactStrictMode: true,
  images: { unoptimized: true },
  devIndicators: false,
  // Types are checked by `npm run typecheck`, once, instead of in every build.
  typescript: { ignoreBuildErrors: true },
  turbopack: { root: path.dirname(fileURLToPath(import.meta.url)) },
};

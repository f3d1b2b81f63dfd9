// JavaScript that the page loads before it shows anything, gzipped: everything its HTML names, charts not among it.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const LIMIT_KB = 230;
const html = readFileSync('out/dashboard/ai-lab/index.html', 'utf8');
const names = [...new Set([...html.matchAll(/<script[^>]*\ssrc="([^"]+)"([^>]*)/g)].filter((m) => !/nomodule/i.test(m[0])).map((m) => m[1]))];
let total = 0;
for (const name of names) {
  const size = gzipSync(readFileSync(`out${name.split('?')[0]}`), { level: 9 }).length;
  total += size;
  console.log(`${(size / 1000).toFixed(1).padStart(8)} KB  ${name}`);
}
console.log(`${(total / 1000).toFixed(1).padStart(8)} KB  first view, limit ${LIMIT_KB} KB`);
process.exit(total / 1000 <= LIMIT_KB ? 0 : 1);

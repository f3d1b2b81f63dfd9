import { Suspense } from 'react';

import { AiLab } from './ai-lab';
import { PageSkeleton } from './page-skeleton';

/** What the view shows depends on the address, so the export holds the skeleton and the browser the rest. */
export default function Page() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <AiLab />
    </Suspense>
  );
}

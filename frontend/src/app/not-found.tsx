export default function NotFound() {
  return (
    <main className="grid min-h-screen place-items-center p-6">
      <div className="max-w-md rounded-lg border border-line bg-panel p-6">
        <h1 className="text-base font-semibold">No page here</h1>
        <p className="mt-2 text-ink-2">
          Expected an address of this gateway. The AI Lab is at{' '}
          <a className="text-accent underline" href="/dashboard/ai-lab/">
            /dashboard/ai-lab/
          </a>
          .
        </p>
      </div>
    </main>
  );
}

/** The gateway redirects `/` itself; this serves other web servers. */
export default function Root() {
  return (
    <main className="p-6">
      <meta httpEquiv="refresh" content="0; url=/dashboard/ai-lab/" />
      <a className="text-accent underline" href="/dashboard/ai-lab/">
        AI Lab
      </a>
    </main>
  );
}

#!/bin/sh
# The kernels compiled at build time go where numba may also write: it refuses to cache in a read-only folder.
set -eu
mkdir -p "$NUMBA_CACHE_DIR"
cp -R -p /opt/numba/. "$NUMBA_CACHE_DIR"
exec "$@"

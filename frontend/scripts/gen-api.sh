#!/bin/sh
# Types of the gateway's answers, made from its own OpenAPI description. With --check, only compares.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-../.venv/bin/python}
spec=$(mktemp)
trap 'rm -f "$spec"' EXIT
"$python" -m tapelab.api.openapi >"$spec"
exec ./node_modules/.bin/openapi-typescript "$spec" --output src/api/schema.gen.ts "$@"

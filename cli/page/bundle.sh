#!/usr/bin/env bash
# Makes plot.js, the parts of Observable Plot and D3 that the page uses, from the npm packages in package-lock.json, and the
# licences of all that is in it. With --check it fails if the committed files are others.
#
#   bundle.sh [--check]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

npm ci --silent --no-audit --no-fund
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
npx esbuild entry.js --bundle --minify --format=iife --global-name=Plot --legal-comments=none --log-level=warning \
  --metafile="$made/meta.json" --outfile="$made/plot.js"
node licences.mjs "$made/meta.json" >"$made/plot-licences.txt"
for file in plot.js plot-licences.txt; do
  if [[ ${1-} == --check ]]; then
    cmp "$made/$file" $file
  else
    cp "$made/$file" $file
  fi
done

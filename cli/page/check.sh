#!/usr/bin/env bash
# Checks `qgemm report`: that plot.js is the bundle of the npm packages, that results/speed.svg is the picture of the results there,
# and how their page looks in headless Chromium (look.mjs). Screenshots go to the folder.
#
#   check.sh [FOLDER]             target/page if not given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=$(realpath -m "${1-target/page}")

command -v chromium >/dev/null || .ci/apt-install chromium fonts-dejavu-core
cli/page/bundle.sh --check
mkdir -p "$folder"
cargo run --release -q -- report results/*.json --out "$folder/report.html" --picture "$folder/speed.svg"
cmp "$folder/speed.svg" results/speed.svg
cd cli/page
node look.mjs "$folder/report.html" "$folder"

#!/usr/bin/env bash
# Builds all targets and runs each for some seconds, from the committed corpus: `fuzz/check.sh [SECONDS]`, 20 without a number.
# Fails on any finding. New inputs are not kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./options.sh

seconds=${1:-20}
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --version 0.13.2

cargo fmt --check
fuzz build
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
for target in "${targets[@]}"; do
  printf '\n=== %s, %d s\n' "$target" "$seconds"
  mkdir -p "$new/$target" "corpus/$target"
  # The first folder takes new inputs.
  fuzz run "$target" "$new/$target" "corpus/$target" -- "${options[@]}" -max_total_time="$seconds" \
    -print_final_stats=1
done

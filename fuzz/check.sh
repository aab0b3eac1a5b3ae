#!/usr/bin/env bash
# Builds all targets and runs each for some seconds, from the committed corpus: `fuzz/check.sh [SECONDS]`, 20 without a number.
# Then the library's tests with AddressSanitizer. Fails on any finding. New inputs are not kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./options.sh

seconds=${1:-20}
cargo fmt --all --check
cargo +nightly build --workspace --bins --locked "${build[@]}"

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
for target in "${targets[@]}"; do
  printf '\n=== %s, %d s\n' "$target" "$seconds"
  mkdir "$new/$target"
  fuzz "$target" "$new/$target" "corpus/$target" -max_total_time="$seconds"
done

printf '\n=== the tests with AddressSanitizer\n'
# An access to an inaccessible page ends a process by a signal, as one test expects; and some tests leak what cases borrow.
export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:detect_leaks=0:$ASAN_OPTIONS
QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE:-2} cargo +nightly test --workspace --locked "${build[@]}"

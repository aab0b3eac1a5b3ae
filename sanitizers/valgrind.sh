#!/usr/bin/env bash
# Tests of the API under valgrind, which sees the use of values that were never written, on the kernels that it knows: those of
# `scalar` and `avx2`. `sanitizers/valgrind.sh [FILTER...]` runs the tests with these words in their names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v valgrind >/dev/null || .ci/apt-install valgrind
(($# > 0)) || set -- known_faults plain:: groupwise:: saved
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
export "CARGO_TARGET_${triple}_RUNNER=valgrind -q --error-exitcode=9 --leak-check=no"
for isa in scalar avx2; do
  # With the packages that the tests are built with elsewhere, so that nothing is compiled for this.
  QGEMM_ISA=$isa QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE:-1} cargo test --workspace --test gemm -- "$@"
done

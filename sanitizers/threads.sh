#!/usr/bin/env bash
# Threads that multiply while others begin and end, and the helpers of all of them, with ThreadSanitizer.
#
# It sees what the library and the tests do, but not the standard library, which would have to be compiled with it: there is no
# source of it in a toolchain of rustup's default profile. So it misses how threads wait for a mutex or for the end of a scope,
# and tests with pools of rayon, which do both, would be full of false alarms. The library's own helpers use atomics alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer'
export TSAN_OPTIONS=suppressions=$PWD/sanitizers/threads.supp:halt_on_error=1
# Suppressions name functions that are inlined, which only lines of debug information tell.
export CARGO_PROFILE_TEST_DEBUG=line-tables-only
triple=$(rustc -vV | sed -n 's/^host: //p')
# Optimised kernels that are watched take minutes to compile; the scalar one is fast enough without.
QGEMM_ISA=scalar QGEMM_LOAD_SECONDS=${QGEMM_LOAD_SECONDS:-5} \
  cargo +nightly test -p qgemm --target "$triple" --target-dir target/threads \
  --config 'profile.test.package.qgemm-kernels.opt-level=0' --config 'profile.test.package.qgemm-kernels.debug=false' \
  --test load -- threads_that_end

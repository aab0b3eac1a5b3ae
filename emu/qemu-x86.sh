#!/usr/bin/env bash
# Runs the tests (but unit tests) under qemu-user on an x86-64 CPU without AVX2 (Nehalem), and some on one with it
# (Haswell), so that run-time detection and the portable path run whatever the host has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v qemu-x86_64-static >/dev/null; then
  .ci/apt-install qemu-user-static
fi
source emu/x86-static.sh
# Its masked loads touch memory that the mask leaves out, which no CPU does: no guard pages here.
export QGEMM_NO_GUARD=1
export QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-5}

# All but the test of the sources, which are the same everywhere.
tests=(--test selftest --test packing --test quantize_rows --test float_mode --test gemm --test alloc)

on() { # CPU model, what it must and must not have, tests
  echo "--- $1: $2"
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="timeout 1200 qemu-x86_64-static -cpu $1" QGEMM_REQUIRE_ISA=$2 \
    cargo test --target x86_64-unknown-linux-gnu -p qgemm-kernels -p qgemm "${tests[@]}" -- \
    --nocapture --test-threads=2 "${@:3}"
}
on Nehalem '!avx2,!avxvnni,!avxvnniint8,!avx512bw,!avx512vnni,!amxint8'
# Its kernels run on the host's own CPU too: here only how they are found and chosen.
on Haswell 'avx2,!avxvnni,!avxvnniint8,!avx512bw,!avx512vnni,!amxint8' required isa:: digest:: products:: golden::

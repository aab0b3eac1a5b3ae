#!/usr/bin/env bash
# Runs integration tests, with std, threads, detection and dispatch, on an emulated CPU with AVX-512 VNNI: see
# linux/runner.sh. A choice of them: the whole suite takes ten minutes there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=target/x86-static RUSTFLAGS='-C target-feature=+crt-static'
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/emu/linux/runner.sh
# One emulated CPU: few cases. A test there cannot start another emulator.
export QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-2} QGEMM_NO_SPAWN=1
export QGEMM_REQUIRE_ISA='avx2,!avxvnni,avx512bw,avx512vnni'
cargo test --target x86_64-unknown-linux-gnu -p qgemm --test gemm -- --nocapture --test-threads=1 \
  isa:: golden:: products:: digest::every_number

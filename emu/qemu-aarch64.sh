#!/usr/bin/env bash
# Runs the tests on 64-bit Arm under qemu-user, on three CPU models: without dotprod, with dotprod but not
# i8mm, with both; and the command's self-test on each. Detection is part of the test: QGEMM_REQUIRE_ISA fails
# where it finds another CPU.
#
#   qemu-aarch64.sh
#
# Debian's rustc compiles: it has a standard library for arm64, which the pinned toolchain here has not.
# No `-L` for qemu: libstd brings a libc of its own version, and with another one's loader the first thread
# would spin for ever.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v qemu-aarch64-static aarch64-linux-gnu-gcc >/dev/null ||
  ! [[ -d /usr/lib/rustlib/aarch64-unknown-linux-gnu ]]; then
  sudo=$([[ $EUID == 0 ]] || echo sudo)
  $sudo dpkg --add-architecture arm64
  .ci/apt-install rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
fi
export RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-5} CARGO_PROFILE_TEST_DEBUG=0

# All but the test of the sources, which are the same everywhere.
tests=(--test selftest --test packing --test refusals --test quantize_rows --test float_mode --test gemm --test alloc
  --test guarded)

on() { # CPU model, what it must and must not have
  echo "--- $1: $2"
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="timeout 1200 qemu-aarch64-static -cpu $1" QGEMM_REQUIRE_ISA=$2
  cargo test --target aarch64-unknown-linux-gnu -p qgemm-kernels -p qgemm --lib "${tests[@]}" -- \
    --nocapture --test-threads=2
  cargo run --target aarch64-unknown-linux-gnu --profile test -p qgemm-cli -- verify --seconds 5 --kernel all
}
on cortex-a72 'neon,!dotprod,!i8mm'
on neoverse-n1 'neon,dotprod,!i8mm'
on max 'neon,dotprod,i8mm'

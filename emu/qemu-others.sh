#!/usr/bin/env bash
# Runs the tests where there are no kernels but the scalar and the portable one: on a big-endian CPU (s390x,
# under qemu-user), in 32 bits (i686, on the CPU itself), and as WebAssembly with simd128 (under
# Node.js; its own tests, see wasm/src). Compiles for 64-bit Arm with macOS and with Windows.
#
#   qemu-others.sh
#
# Debian's rustc compiles, with a standard library that is built from its source here: neither the pinned
# toolchain nor Debian has one of its version for these targets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v s390x-linux-gnu-gcc >/dev/null ||
  ! command -v i686-linux-gnu-gcc >/dev/null || ! command -v wasm-ld-19 >/dev/null ||
  ! [[ -d /usr/lib/rustlib/src/rust/library ]]; then
  .ci/apt-install rustc-web rust-web-src gcc-s390x-linux-gnu libc6-dev-s390x-cross \
    gcc-i686-linux-gnu libc6-dev-i386-cross lld-19
fi
# That of Debian 12, 7.2, has `mdebr` wrong, the f64 product of two f32: 0.5 times 0.5 is 2^-16.
qemu=target/qemu/tree/usr/bin/qemu-s390x
[[ -x $qemu ]] || emu/debian13.sh target/qemu qemu-user
export RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=target/others
export RUSTC_BOOTSTRAP=1 # for -Z build-std
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER="timeout 1200 $PWD/$qemu"
export CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static'
export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc
export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static'
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='-C linker-flavor=wasm-ld -C target-feature=+simd128'
export CARGO_PROFILE_TEST_DEBUG=0 QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-5}
export QGEMM_REQUIRE_ISA='scalar,portable,!avx2,!neon'

# All but the test of the sources, which are the same everywhere.
tests=(--test selftest --test packing --test quantize_rows --test float_mode --test gemm --test alloc)

echo '--- s390x-unknown-linux-gnu'
cargo test -Z build-std --target s390x-unknown-linux-gnu -p qgemm-kernels -p qgemm --lib "${tests[@]}" -- \
  --nocapture --test-threads=2

echo '--- i686-unknown-linux-gnu'
# On the CPU itself few cases take less time than to optimise the code for them.
CARGO_PROFILE_TEST_OPT_LEVEL=1 cargo test -Z build-std --target i686-unknown-linux-gnu \
  -p qgemm-kernels -p qgemm --lib "${tests[@]}" -- --nocapture --test-threads=2

echo '--- wasm32-unknown-unknown'
(cd emu/wasm && CARGO_TARGET_DIR=../../target/others cargo build -Z build-std=std,panic_abort --release \
  --target wasm32-unknown-unknown)
node emu/wasm/run.mjs target/others/wasm32-unknown-unknown/release/wasm_rig.wasm

# Not run, for want of such a system: the assembly of the Arm kernels is made, and the library compiles.
echo '--- aarch64-apple-darwin, aarch64-pc-windows-msvc (compiled only)'
cargo build -Z build-std=core --target aarch64-apple-darwin -p qgemm-kernels --no-default-features
cargo check -Z build-std --target aarch64-apple-darwin --target aarch64-pc-windows-msvc -p qgemm --lib

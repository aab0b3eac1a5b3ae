#!/usr/bin/env bash
# Runs integration tests, with std, threads, detection and dispatch, on emulated CPUs with AVX-512BW alone and with
# AVX-VNNI, and with AVX-512 VNNI if the host lacks it: see linux/runner.sh. A choice of them: the whole suite takes ten
# minutes there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source emu/x86-static.sh
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$PWD/emu/linux/runner.sh
# One emulated CPU: few cases. A test there cannot start another emulator.
export QGEMM_TEST_SCALE=${QGEMM_TEST_SCALE-2} QGEMM_NO_SPAWN=1

emu/linux/install.sh
test=(cargo test --target x86_64-unknown-linux-gnu -p qgemm-kernels -p qgemm --test gemm)
"${test[@]}" --no-run

# Beside each other, as Bochs runs on one core.
models=() runs=()
on() { # Bochs CPU model, what it must and must not have, tests
  models+=("$1: $2")
  EMU_MODEL=$1 QGEMM_REQUIRE_ISA=$2 "${test[@]}" -- --nocapture --test-threads=1 "${@:3}" >"$CARGO_TARGET_DIR/$1.log" 2>&1 &
  runs+=("$! $CARGO_TARGET_DIR/$1.log")
}
grep -qw avx512_vnni /proc/cpuinfo ||
  on tigerlake 'avx2,!avxvnni,!avxvnniint8,avx512bw,avx512vnni,!amxint8' isa:: digest:: dynamic:: epilogue:: golden:: groupwise::every_kernel products:: threads::
on corei7_skylake_x 'avx2,!avxvnni,!avxvnniint8,avx512bw,!avx512vnni,!amxint8' isa:: digest::every_number golden:: groupwise::every_kernel products::
# It has AVX-VNNI-INT8 too, but Bochs 3.0 does not report it.
on arrow_lake 'avx2,avxvnni,!avxvnniint8,!avx512bw,!avx512vnni,!amxint8' isa:: digest::every_number golden:: groupwise::every_kernel products::

failed=0
for i in "${!runs[@]}"; do
  read -r run log <<<"${runs[i]}"
  wait "$run" || failed=1
  echo "--- ${models[i]}"
  cat "$log"
done
exit $failed

#!/usr/bin/env bash
# Compares the logits of 64-bit Arm, under qemu-user, with those of this machine, and fails if their sha256 differ. Three CPU
# models: with NEON alone, with dotprod too, and with i8mm too.
#
#   arm.sh [ARGUMENT...]        # arguments of the command; without them, a prompt of 8 tokens and 4 generated ones
#
# It needs the model (fetch.sh) and the packages that ../../emu/qemu-aarch64.sh installs. It takes half a minute; the first
# time, two compilations of 6 CPU minutes each come before that (Xeon, 2026-11-30).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=aarch64-unknown-linux-gnu
fail() {
  echo "$1" >&2
  exit 1
}
for tool in qemu-aarch64-static aarch64-linux-gnu-gcc; do
  command -v $tool >/dev/null || fail "$tool is missing; emu/qemu-aarch64.sh installs it"
done
[[ -x /usr/bin/rustc && -d /usr/lib/rustlib/$target ]] ||
  fail "Debian's rustc with a standard library for Arm is missing; emu/qemu-aarch64.sh installs both"
[[ -n $(compgen -G 'model/*.gguf') || " $*" == *' --model'* ]] || fail 'the model is missing; fetch.sh fetches it'

[[ $# -gt 0 ]] || set -- --raw --all-logits --ignore-end --tokens 4 'The capital of France is Paris, and'
build=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR=$build cargo build --locked --release
RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$build/arm CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
  cargo build --locked --release --target $target

sha256() { # name of the CPU, kernel that must run, command; leaves the sha256 in `found`
  local name=$1 expected=$2 report kernel
  report=$(timeout 1800 "${@:3}" 2>&1 >/dev/null) || fail "$name: exit status $?: $report"
  found=$(sed -n 's/^logits *sha256 //p' <<<"$report")
  kernel=$(sed -n 's/^kernel *\([^,]*\),.*/\1/p' <<<"$report")
  # shellcheck disable=SC2053 # a pattern
  [[ -n $found && $kernel == $expected ]] || fail "$name: expected a sha256, and the kernel $expected: $report"
  printf '%-12s %-18s %s\n' "$name" "$kernel" "$found"
}

sha256 'this machine' '*' "$build/release/qgemm-smollm" "$@"
native=$found failed=0
for model in cortex-a72:neon neoverse-n1:dotprod max:i8mm; do
  sha256 "${model%:*}" "${model#*:}-*" qemu-aarch64-static -cpu "${model%:*}" "$build/arm/$target/release/qgemm-smollm" "$@"
  [[ $found == "$native" ]] || failed=1
done
[[ $failed == 0 ]] || fail 'the logits DIFFER'
echo 'the logits are the same'

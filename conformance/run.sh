#!/usr/bin/env bash
# Compares qgemm byte for byte with ONNX Runtime, the ONNX reference evaluator, LiteRT and gemmlowp, then
# checks that one wrong bit would be noticed. Options are those of check.py (--cases N, --only NAME, --seed S, ...).
# Python packages go into target/conformance/venv, or the folder that QGEMM_CONFORMANCE_VENV names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=target/conformance
venv=${QGEMM_CONFORMANCE_VENV-$work/venv}
mkdir -p $work

if ! cmp -s conformance/requirements.txt "$venv/installed.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r conformance/requirements.txt
  cp conformance/requirements.txt "$venv/installed.txt"
fi

if ! [[ -r /usr/include/gemmlowp/public/gemmlowp.h ]]; then
  sudo=$([[ $EUID == 0 ]] || echo sudo)
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends \
    install libgemmlowp-dev g++ >/dev/null
fi
export QGEMM_GEMMLOWP=$PWD/$work
for build in plain:-mno-sse4.1 sse4:-msse4.1; do
  # Warnings are of its headers.
  g++ -std=c++14 -O2 -w -fPIC -shared "${build#*:}" -o "$work/gemmlowp-${build%:*}.so" conformance/gemmlowp.cpp
done

# With the packages of `cargo run --release`: what that compiled serves again.
cargo build --release -p qgemm -p qgemm-cli -p qgemm-conformance
check() {
  PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" conformance/check.py \
    --driver "${CARGO_TARGET_DIR-target}/release/qgemm-conformance" --failures $work/failures "$@"
}
grep -m1 '^model name' /proc/cpuinfo || true
check --table $work/table.md "$@"
check --perturb "$@" --cases 5

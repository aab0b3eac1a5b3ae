#!/usr/bin/env bash
# Compares qgemm byte for byte with ONNX Runtime, the ONNX reference evaluator, LiteRT, gemmlowp and the software of formats
# of group-wise weights, then checks that one wrong bit is noticed; without options also the errors of group-wise products.
# Options are passed to check.py (--cases N, --only NAME, --seed S, ...).
# Python packages are installed in target/conformance/venv, or in the folder QGEMM_CONFORMANCE_VENV.
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
  .ci/apt-install libgemmlowp-dev g++
fi
export QGEMM_GEMMLOWP=$PWD/$work
for build in plain:-mno-sse4.1 sse4:-msse4.1; do
  # -w, because gemmlowp's headers have warnings.
  g++ -std=c++14 -O2 -w -fPIC -shared "${build#*:}" -o "$work/gemmlowp-${build%:*}.so" conformance/gemmlowp.cpp
done

# These packages together get the same features as in `cargo run --release`, so that its builds are reused.
cargo build --release -p qgemm -p qgemm-cli -p qgemm-conformance
check() {
  PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" conformance/check.py \
    --driver "${CARGO_TARGET_DIR-target}/release/qgemm-conformance" --failures $work/failures "$@"
}
grep -m1 '^model name' /proc/cpuinfo || true
check --table $work/table.md "$@"
check --perturb "$@" --cases 5
if (($# == 0)); then
  PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" conformance/groupwise_errors.py \
    --driver "${CARGO_TARGET_DIR-target}/release/qgemm-conformance"
fi

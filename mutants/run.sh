#!/usr/bin/env bash
# Mutation tests of src/ and kernels/: `mutants/run.sh [PREFIX...]`, only the mutants of files that begin so with prefixes.
# Stopped and run again, it goes on where it was; without target/mutants it begins anew. Writes mutants/REPORT.md.
# `mutants/run.sh --again` runs the survivors of the last run once more, with the tests as they are now.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/mutants/target}
work=$CARGO_TARGET_DIR/mutants

cargo mutants --version >/dev/null 2>&1 || cargo install cargo-mutants --locked --version 27.1.0
mkdir -p "$work"
for package in qgemm qgemm-kernels; do
  cargo mutants --list --json -p $package >"$work/$package.json"
done
tool() { cargo run --quiet --release --manifest-path mutants/Cargo.toml --target-dir "$CARGO_TARGET_DIR/tool" -- "$@"; }
tool build "$work/qgemm.json" "$work/qgemm-kernels.json"
# What decides about results comes first.
order=(src/matrix src/product src/output src/engine/zero_points src/engine/epilogue src/engine/plan src/engine/wide_terms
  src/engine/loops src/engine/row_block src/weights src/engine/groupwise src/quantize src/call src kernels)
case ${1-} in
  '') tool run "${order[@]}" ;;
  --again) tool run "$@" "${order[@]}" ;;
  *) tool run "$@" ;;
esac
tool report

#!/usr/bin/env bash
# Fuzzes for some hours: `fuzz/run.sh HOURS [TARGET...]`. The targets in turn, each for the same time, then their corpora
# minimised.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./options.sh

hours=${1:?usage: fuzz/run.sh HOURS [TARGET...]}
shift
(($# == 0)) || targets=("$@")
seconds=$(awk -v hours="$hours" -v targets="${#targets[@]}" 'BEGIN { print int(hours * 3600 / targets) }')

cargo +nightly build --workspace --bins --locked "${build[@]}"
status=0
for target in "${targets[@]}"; do
  printf '\n=== %s, %d s\n' "$target" "$seconds"
  mkdir -p "corpus/$target"
  fuzz "$target" "corpus/$target" -max_total_time="$seconds" || status=1
done
for target in "${targets[@]}"; do
  minimise "$target"
done
# Findings are in artifacts/.
exit $status

#!/usr/bin/env bash
# Fuzzes for some hours: `fuzz/run.sh HOURS`. All targets in turn, each for the same time, then their corpora minimised.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./options.sh

hours=${1:?usage: fuzz/run.sh HOURS}
seconds=$(awk -v hours="$hours" -v targets="${#targets[@]}" 'BEGIN { print int(hours * 3600 / targets) }')

status=0
for target in "${targets[@]}"; do
  printf '\n=== %s, %d s\n' "$target" "$seconds"
  fuzz run "$target" -- "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 || status=1
done
for target in "${targets[@]}"; do
  minimise "$target"
done
# Findings are in artifacts/.
exit $status

#!/usr/bin/env bash
# Licences, duplicate versions and sources of all that is depended on, as deny.toml allows them; whether the public API is the
# one listed in audit/api.txt; and what the packages hold. `audit/run.sh --write` writes that list.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo deny --version >/dev/null 2>&1 || cargo install --debug --locked cargo-deny --version 0.20.2
cargo public-api --version >/dev/null 2>&1 || cargo install --debug --locked cargo-public-api --version 0.52.0

while read -r manifest; do
  checks=(licenses sources)
  # What is shipped has each dependency once.
  [[ $manifest != Cargo.toml && $manifest != bindings/* ]] || checks+=(bans)
  printf '%s: ' "$manifest"
  cargo deny --manifest-path "$manifest" --log-level error --config deny.toml check --hide-inclusion-graph "${checks[@]}"
done < <(git ls-files '*Cargo.toml' | xargs grep -l '^\[workspace\]')

# With all features; without what the compiler implements by itself.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/audit}
api() { cargo +nightly public-api -p qgemm --all-features --omit blanket-impls,auto-trait-impls,auto-derived-impls; }
if [[ ${1-} == --write ]]; then
  api >audit/api.txt
elif ! api | diff audit/api.txt -; then
  echo 'the public API is not the one of audit/api.txt: if that is meant, run audit/run.sh --write' >&2
  exit 1
fi

# What would be published: the sources and what belongs to them, nothing else.
for package in qgemm-kernels qgemm; do
  files=$(cargo package -p $package --list --allow-dirty)
  if grep -Ev '^(src/|docs/src/|README|CHANGELOG|LICENSE|Cargo\.|\.cargo_vcs_info)' <<<"$files"; then
    echo "these files of $package do not belong into its package: see include in its Cargo.toml" >&2
    exit 1
  fi
  for file in LICENSE-MIT LICENSE-APACHE README.md src/lib.rs; do
    grep -qx $file <<<"$files" || { echo "$file is missing in the package $package" >&2; exit 1; }
  done
done

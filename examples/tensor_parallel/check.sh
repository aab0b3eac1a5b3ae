#!/usr/bin/env bash
# What must hold for this example, at a small size: equal bytes on 1 to 4 processes. Installs Open MPI if there is none (Debian)
# and makes an environment in the target directory. Gloo runs too where $PYTHON has torch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target/python}
mkdir -p "$CARGO_TARGET_DIR"

command -v mpirun >/dev/null || ../../.ci/apt-install openmpi-bin libopenmpi-dev
venv=$CARGO_TARGET_DIR/venv-parallel-$("${PYTHON:-python3}" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
[[ -x $venv/bin/python ]] || "${PYTHON:-python3}" -m venv --clear --system-site-packages "$venv"
"$venv/bin/pip" install -q -r requirements.txt
MATURIN_PEP517_ARGS=--locked "$venv/bin/pip" install -q --force-reinstall --no-deps ../../bindings/python

# 203 is no multiple of 2, 3 or 4, and of 4 processes one has no column.
PYTHON=$venv/bin/python ./run.sh 1 203x3

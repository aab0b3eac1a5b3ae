#!/usr/bin/env bash
# Installs Bochs 3.0 into target/bochs, to be started by `target/bochs/bochs`. It is Debian 13's: Debian 12 has
# 2.7, which knows no CPU with AVX-VNNI. Its own libraries come from this system's Bochs, but for a C library as
# new as it wants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD/target/bochs
[[ ! -x $root/bochs ]] || exit 0

if ! command -v bochs-bin >/dev/null; then
  # bochs-term: the smallest of the displays that bochs depends on one of.
  .ci/apt-install bochs bochs-term
fi

emu/debian13.sh target/bochs bochs bochs-term bochsbios libc6

cat >"$root/bochs" <<END
#!/bin/sh
export LTDL_LIBRARY_PATH=$root/tree/usr/lib/x86_64-linux-gnu/bochs/plugins
exec $root/tree/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 \\
  --library-path $root/tree/usr/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu \\
  $root/tree/usr/bin/bochs-bin "\$@"
END
chmod +x "$root/bochs"

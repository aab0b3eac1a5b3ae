#!/usr/bin/env bash
# Installs Bochs 3.0 into target/bochs, to be started by `target/bochs/bochs`. It is Debian 13's: Debian 12 has
# 2.7, which knows no CPU with AVX-VNNI. Its own libraries come from this system's Bochs, but for a C library as
# new as it wants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD/target/bochs
[[ ! -x $root/bochs ]] || exit 0

sudo=$([[ $EUID == 0 ]] || echo sudo)
if ! command -v bochs-bin >/dev/null; then
  $sudo apt-get update -qq
  # bochs-term: the smallest of the displays that bochs depends on one of.
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 \
    --no-install-recommends bochs bochs-term >/dev/null
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

#!/usr/bin/env bash
# Installs what runner.sh needs, as far as it is not there: tools that make a bootable image, Bochs, a Linux kernel.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$here/../../target/emu-linux

need=()
command -v xorriso >/dev/null || need+=(xorriso)
command -v cpio >/dev/null || need+=(cpio)
[[ -e /usr/lib/ISOLINUX/isolinux.bin ]] || need+=(isolinux syslinux-common)
if ((${#need[@]})); then
  "$here/../../.ci/apt-install" "${need[@]}"
fi
"$here/../bochs/install.sh"
if [[ ! -e $cache/vmlinuz ]]; then
  mkdir -p "$cache"
  (
    cd "$cache"
    # The newest kernel for virtual machines: lz4, which Bochs unpacks soonest.
    deb=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')
    apt-get download -qq "$deb"
    dpkg -x "$deb"_*.deb deb
    mv deb/boot/vmlinuz-* vmlinuz
    rm -r deb "$deb"_*.deb
  ) >&2
fi

#!/usr/bin/env bash
# Runs a statically linked Linux program on an emulated CPU, with std, threads and feature detection: on
# Linux in Bochs. Serves as cargo's runner; exits with the program's status.
#
#   runner.sh PROGRAM [ARGUMENT...]
#
# EMU_MODEL: the Bochs CPU model (tigerlake). EMU_TIMEOUT: seconds (900). Variables whose names start with
# QGEMM_ are passed on. The file system holds the program, /proc, /dev and an empty /tmp; memory is 512 MiB.
set -euo pipefail
program=$(realpath "$1")
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$here/../../target/emu-linux
bochs=$here/../../target/bochs/bochs

"$here/install.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/fs/proc" "$tmp/fs/tmp" "$tmp/fs/dev" "$tmp/iso"
cp "$program" "$tmp/fs/program"
strip --strip-debug "$tmp/fs/program"
gcc -static -Os -s -o "$tmp/fs/init" "$here/init.c"
(cd "$tmp/fs" && find . | cpio -o -H newc --quiet) >"$tmp/iso/initrd"
cp "$cache/vmlinuz" "$tmp/iso/"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$tmp/iso/"

# The kernel hands words NAME=VALUE that it does not know to init as environment.
pass=$(env | grep '^QGEMM_' | tr '\n' ' ' || true)
# clearcpuid: what Bochs gets wrong. XSAVEC (321), XSAVES (323) and PKU (515) have no consistent CPUID
# leaf 0xD, for which Linux would turn off AVX altogether; with FSRM (580) it hangs.
# reboot=t: by a triple fault, which ends Bochs; so does a kernel panic.
cat >"$tmp/iso/isolinux.cfg" <<EOF
SERIAL 0 115200
DEFAULT linux
PROMPT 0
LABEL linux
 KERNEL /vmlinuz
 APPEND initrd=/initrd console=ttyS0,115200 quiet mitigations=off tsc=reliable clearcpuid=321,323,515,580 lsm=capability panic=-1 reboot=t rdinit=/init $pass -- $*
EOF
xorriso -as mkisofs -quiet -R -o "$tmp/boot.iso" -b isolinux.bin -c boot.cat \
  -no-emul-boot -boot-load-size 4 -boot-info-table "$tmp/iso" 2>"$tmp/xorriso.out"

cat >"$tmp/bochsrc" <<EOF
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=${EMU_MODEL-tigerlake}, ips=50000000, reset_on_triple_fault=0
memory: guest=512, host=512
pci: enabled=1, chipset=i440fx
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
vga: extension=vbe
clock: sync=none, time0=utc
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
plugin_ctrl: speaker=0
com1: enabled=1, mode=file, dev=serial.txt
log: bochs.log
panic: action=fatal
EOF
echo c >"$tmp/debugger.rc"
(cd "$tmp" && timeout "${EMU_TIMEOUT:-1800}" "$bochs" -q -f bochsrc -rc debugger.rc \
  </dev/null >bochs.out 2>&1) || true

tr -d '\r' <"$tmp/serial.txt" >"$tmp/out.txt"
sed '1,/^EMU-BEGIN$/d; /^EMU-END /,$d' "$tmp/out.txt"
status=$(sed -n 's/^EMU-END //p' "$tmp/out.txt")
if [[ -z $status ]]; then
  echo "the program did not end; last of the serial port and of Bochs:" >&2
  tail -n 5 "$tmp/out.txt" "$tmp/bochs.out" >&2
  exit 125
fi
exit "$status"

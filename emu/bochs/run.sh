#!/usr/bin/env bash
# Runs the kernels' self-test on an emulated x86-64 CPU, whatever the host has: builds rig/ into a
# bare-metal image and boots it in Bochs.
#
#   run.sh [--int8|--tiles] MODEL KERNEL...
#
# MODEL: a Bochs CPU model. tigerlake has AVX-512 VNNI, corei7_skylake_x AVX-512BW without VNNI, arrow_lake
# AVX-VNNI without AVX-512, corei7_haswell_4770 AVX2. --int8: AVX-VNNI-INT8 as well, which arrow_lake runs but
# whose CPUID bit Bochs 3.0 leaves 0. --tiles: AMX in software (../tiles), on a model with AVX-512 VNNI. sapphire_rapids
# has AMX, but Bochs 3.0 multiplies all bytes as if they had no sign: there the software is compared with it
# (tiles-in-software), and AMX's kernel runs for such products (amxint8-32x64c4-without-signs), and no other kernel.
# Succeeds only when no case failed and every kernel named ran.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

args=
case ${1-} in
  --int8) args=avxvnniint8 && shift ;;
  --tiles) args=tiles && shift ;;
esac
model=${1:?a CPU model}
shift
(($# > 0)) || { echo "name the kernels that must run" >&2; exit 2; }
./install.sh
bochs=$(realpath ../../target/bochs/bochs)

(cd rig && cargo build --release --quiet) # there, for its .cargo/config.toml
elf=rig/target/x86_64-unknown-linux-gnu/release/rig
run=rig/target/run
mkdir -p $run
objcopy -O binary -j .rom $elf $run/rom.bin
objcopy -O binary -j .text -j .rodata -j .data $elf $run/image.bin
printf '%s\0' "$args" >$run/args.bin
echo c >$run/debugger.rc # Debian's Bochs starts in its debugger: "continue"
rm -f $run/serial.txt

# Its exit status says nothing: 1 is what the guest's own shutdown gives.
(cd $run && timeout "${RIG_TIMEOUT:-1200}" "$bochs" -q -f ../../../bochsrc -rc debugger.rc \
  "cpu: model=$model, ips=100000000, reset_on_triple_fault=0" </dev/null >bochs.out 2>&1) || true

if ! cat $run/serial.txt || ! grep -q '^DONE ' $run/serial.txt; then
  echo "no closing line; end of $run/bochs.out:" >&2
  tail -n 15 $run/bochs.out >&2
  exit 1
fi
rip=$(sed -n 's/^TRAP.* rip=\(0x[0-9a-f]*\).*/\1/p' $run/serial.txt)
[[ -z $rip ]] || addr2line -ifpC -e $elf "$rip"
grep -Eq '^DONE passed=[1-9][0-9]* failed=0' $run/serial.txt
for kernel in "$@"; do
  grep -Eq "^KERNEL $kernel passed=[1-9][0-9]* failed=0" $run/serial.txt || {
    echo "$kernel did not run" >&2
    exit 1
  }
done

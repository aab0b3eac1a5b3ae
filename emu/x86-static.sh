# Sourced by scripts that run tests on x86-64 CPUs that are emulated, or lack AMX: how they are built, once for all.

# A target of its own and static, as the CPU may lack what the host's libc picks. QGEMM_EMULATED_AMX in the
# environment has these tests find AMX, whose instructions they execute in software.
export CARGO_TARGET_DIR=target/x86-static RUSTFLAGS='-C target-feature=+crt-static --cfg qgemm_emulated_amx'

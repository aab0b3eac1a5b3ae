# What check.sh and run.sh share: how to build, the targets, and the options of libFuzzer.

targets=(gemm dynamic groupwise batch saved layers command c_abi)

# Counters for libFuzzer, and AddressSanitizer. Its checks are calls: in line, they make the kernels' long functions so
# large that these take more than ten minutes to compile.
export RUSTFLAGS='-Zsanitizer=address -Cllvm-args=-asan-instrumentation-with-call-threshold=0
  -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cdebug-assertions -Ccodegen-units=1'

# With --target these flags are not those of build scripts. Lines of the kernels in reports take a tenth of the time to
# compile them, and are not missed: names of functions are there.
triple=$(rustc -vV | sed -n 's/^host: //p')
build=(--release --target "$triple" --target-dir "$PWD/target" --config 'profile.release.package.qgemm-kernels.debug=false')
built=target/$triple/release

# Inputs are choices of a few bytes each: more than this is never read, but by `saved`.
options=(-max_len=4096 -len_control=4 -rss_limit_mb=2048 -timeout=20 -verbosity=1 -print_final_stats=1 -print_funcs=0
  -entropic_scale_per_exec_time=1)

# Memory that nobody has is an error of the library, not the end of the process: allocations from 64 MiB on fail.
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=64:${ASAN_OPTIONS-}

# Runs a target with further arguments, in corpora the first of which takes new inputs. Allocations that fail are reported
# each time, which is not of interest here.
fuzz() {
  local target=$1
  shift
  mkdir -p "artifacts/$target"
  "$built/$target" "${options[@]}" -artifact_prefix="artifacts/$target/" "$@" \
    2> >(grep -v 'WARNING: AddressSanitizer failed to allocate' >&2)
}

# Keeps those inputs of a target's corpus that together cover most, at most 300.
minimise() {
  local scratch
  scratch=$(mktemp -d)
  mkdir "$scratch/merged"
  fuzz "$1" "$scratch/merged" "corpus/$1" -merge=1 -merge_control_file="$scratch/control" >/dev/null
  ./prune.py "corpus/$1" "$scratch/control" 300
  rm -r "$scratch"
}

# What run.sh and check.sh share: the targets, and the options of libFuzzer.

targets=(gemm dynamic groupwise batch saved layers c_abi)

# Inputs are choices of a few bytes each: more than this is never read, but by `saved`.
options=(-max_len=4096 -len_control=20 -rss_limit_mb=2048 -timeout=20 -verbosity=1)

# Memory that nobody has is an error of the library, not the end of the process: allocations from 64 MiB on fail.
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=64:${ASAN_OPTIONS-}

# Allocations that fail are reported each time, which is not of interest here.
fuzz() {
  cargo +nightly fuzz "$@" 2> >(grep -v 'WARNING: AddressSanitizer failed to allocate' >&2)
}

# Keeps those inputs of a target's corpus that together cover most, at most 150.
minimise() {
  local scratch
  scratch=$(mktemp -d)
  mkdir "$scratch/merged"
  fuzz run "$1" "$scratch/merged" "corpus/$1" -- "${options[@]}" -set_cover_merge=1 \
    -merge_control_file="$scratch/control" >/dev/null
  ./prune.py "corpus/$1" "$scratch/control" 150
  rm -r "$scratch"
}

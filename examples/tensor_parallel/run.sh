#!/usr/bin/env bash
# Runs the layers on 1, 2, 3 and 4 processes, by MPI and by gloo where they are installed, and compares the outputs: ends with 1
# if those of 8 bits differ. PYTHON needs qgemm, and mpi4py or torch. BACKENDS=mpi or gloo runs one of them only.
#
#   PYTHON=venv/bin/python ./run.sh [REPEATS [KxN ...]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3}
repeats=${1:-5}
shapes=("${@:2}")
# 1003 and 517 are no multiples of 2, 3 or 4.
[[ ${#shapes[@]} -gt 0 ]] || shapes=(4096x4096 1003x517)

# Each process is one thread. Open MPI refuses root, and more processes than cores, unless it is told.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpi=(mpirun --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none)
# Processes of one machine that has no network.
export GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-lo}

installed=()
! { command -v mpirun && "$python" -c 'import mpi4py'; } >/dev/null 2>&1 || installed+=(mpi)
gloo='import numpy, torch.distributed as d; torch.from_numpy(numpy.zeros(1)); assert d.is_gloo_available()'
! "$python" -c "import torch; $gloo" >/dev/null 2>&1 || installed+=(gloo)
[[ ${#installed[@]} -gt 0 ]] || { echo "neither MPI (mpirun, mpi4py) nor gloo (torch) is installed" >&2; exit 1; }
read -ra backends <<<"${BACKENDS:-${installed[*]}}"
echo "back-ends: ${backends[*]}"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for shape in "${shapes[@]}"; do
  work=("$python" worker.py -k "${shape%x*}" -n "${shape#*x}" --repeats "$repeats" --folder "$folder")
  "${work[@]}"
  for backend in "${backends[@]}"; do
    for size in 1 2 3 4; do
      if [[ $backend == mpi ]]; then
        "${mpi[@]}" -n $size "${work[@]}" --backend mpi
        continue
      fi
      processes=()
      for ((rank = 0; rank < size; rank++)); do
        RANK=$rank WORLD_SIZE=$size MEETING=$folder/meeting-$shape-$size "${work[@]}" --backend gloo &
        processes+=($!)
      done
      for process in "${processes[@]}"; do wait "$process"; done
    done
  done
done
lscpu | grep -E '^(Model name|CPU\(s\))' || true
"$python" compare.py "$folder"

#!/usr/bin/env bash
# Tests and measures the Triton kernels on this machine's GPU in under ten minutes; run again, it goes on where it stopped.
#
#   WHEELS=FOLDER OUT=FOLDER bash benchmarks/gpu/run.sh
#
# Needs CUDA, torch and triton, and nothing from a network. WHEELS has wheels of what else is missing: scikit-build-core and
# nanobind (to compile the core), pytest and hypothesis with what they need. OUT gets kernels.xml (tests) and gpu.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-benchmarks/results}
python=${PYTHON:-python3}
site=build/gpu
mkdir -p "$out" "$site"
export PYTHONPATH=$PWD/$site

"$python" - <<'PY'
import torch, triton
if not torch.cuda.is_available():
    raise SystemExit("run.sh: torch sees no CUDA device; run it on a machine with one")
print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__)
PY

if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$site" "$WHEELS"/*.whl
fi
if ! "$python" -c 'import serotine' 2>/dev/null; then
  "$python" -m pip install --quiet --no-index --no-deps --no-build-isolation --upgrade --target "$site" .
fi

if [ ! -f "$out/kernels.passed" ]; then
  timeout "${TEST_SECONDS:-240}" "$python" -m pytest -q -p no:cacheprovider --junitxml "$out/kernels.xml" \
    tests/test_triton_kernels.py tests/test_triton_tuning.py
  touch "$out/kernels.passed"
fi
"$python" benchmarks/gpu/measure.py --out "$out/gpu.json" --seconds "${MEASURE_SECONDS:-240}"

#!/bin/sh
# Everything that only a GPU can show, on a machine without network: sh benchmarks/gpu.sh [--out FOLDER] [--from STAGE]
# Uses the machine's own python with torch, transformers, lightning and peft. What else is needed comes from the wheels
# of 'make gpu-wheels' (folder gpu-wheels, or WHEELS=FOLDER). Nothing is downloaded.
set -e
here=$(cd "$(dirname "$0")" && pwd)
wheels=${WHEELS:-$here/../gpu-wheels}
extra=${EXTRA:-/tmp/ptst-gpu-packages}
if [ -d "$wheels" ]; then
  "${PYTHON:-python3}" -m pip install --quiet --no-index --no-deps --find-links "$wheels" --target "$extra" \
    --requirement "$here/gpu-wheels.txt"
  PYTHONPATH=$extra${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONPATH
fi
exec "${PYTHON:-python3}" "$here/gpu_stages.py" "$@"

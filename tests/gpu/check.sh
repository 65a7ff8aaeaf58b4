#!/usr/bin/env bash
# The check of the GPU path: right, fast, robust. On any machine with a GPU, torch and this folder; needs no network.
#
#     tests/gpu/check.sh [--device cpu] [--out FOLDER] [--only NAME ...]
#
# `--device cpu` is a rehearsal with small sizes. Every check has its own time limit and writes its line as it ends; all
# together take less than eight minutes on one data-centre GPU. FOLDER (default: gpu-check) gets figures.json and
# table.md. ASH_TEST_DATA names the folder with the authors' results; without it that check is skipped and says so.
# `python tests/gpu/report.py FOLDER/figures.json --into app/guide/speed.md` puts the table into the guide on speed.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONUNBUFFERED=1 PYTORCH_NVML_BASED_CUDA_CHECK=1
exec "${PYTHON:-python3}" tests/gpu/runner.py "$@"

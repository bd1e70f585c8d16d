#!/usr/bin/env bash
# The wheel in a new environment, from empty folders, without this checkout: train, test, predict, uninstall.
#
# In the environment: PYTHON, the interpreter that makes the environment (python3); TORCH, what pip installs first and
# alone (torch==2.13.0); WORK, an empty folder to work in, which is kept (a temporary one, which is not).
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
if [[ -z ${WORK:-} ]]; then
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
fi
unset PYTHONPATH
export XDG_CACHE_HOME=$WORK/cache CUDA_VISIBLE_DEVICES=-1
bin=$WORK/venv/bin
pip() { "$bin/python" -m pip --disable-pip-version-check "$@"; }
say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }
enter() { mkdir "$WORK/$1" && cd "$WORK/$1"; }

say 'a source archive, and the wheel from it'
"${PYTHON:-python3}" -m venv "$WORK/venv"
pip install -q setuptools wheel
# From a copy, since setuptools writes into the folder that it builds from.
mkdir "$WORK/source" "$WORK/dist"
cd "$repository"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [[ -f $file ]]; then printf '%s\0' "$file"; fi
done | tar --null -cf - -T - | tar -xf - -C "$WORK/source"
cd "$WORK/source"
"$bin/python" setup.py -q sdist --dist-dir "$WORK/dist"
pip wheel -q --no-deps --no-build-isolation --wheel-dir "$WORK/dist" "$WORK"/dist/*.tar.gz
cd "$WORK"
rm -r source

say 'install torch alone, then the wheel'
pip install -q "${TORCH:-torch==2.13.0}"
pip install -q -c "$repository/requirements/constraints.txt" "$(echo "$WORK"/dist/*.whl)[onedl]"
site=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
enter outside
"$bin/python" -c "
import m2h_mm
assert m2h_mm.__file__.startswith('$site'), m2h_mm.__file__
"
"$bin/m2h-mm" --help > /dev/null
"$bin/python" -m m2h_mm --help > /dev/null

say 'a picture, by the model that comes with the package'
photo=$WORK/photo.png
"$bin/python" -c "
import numpy as np
from PIL import Image
pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
Image.fromarray(pixels).save('$photo')
"
"$bin/m2h-mm" predict "$photo" --out-dir maps
test -s maps/depth/photo.npy && test -s maps/semseg/photo.png && test -s maps/pictures/photo.png

say 'train, test, predict'
enter training
options=(train_cfg.max_iters=4 train_cfg.val_interval=4 default_hooks.checkpoint.interval=2
         default_hooks.logger.interval=1)
for loader in train val test; do
    for option in num_train=4 num_val=2 'size=(56,84)'; do
        options+=("${loader}_dataloader.dataset.$option")
    done
done
"$bin/m2h-mm" train m2h_tiny_rooms --work-dir work --cfg-options "${options[@]}"
"$bin/m2h-mm" test m2h_tiny_rooms work --work-dir tested --out results.json --cfg-options "${options[@]}"
"$bin/python" -c "
import json
metrics = json.load(open('results.json'))['metrics']
assert {'semseg/mIoU', 'depth/rmse', 'normals/mean', 'edge/odsF'} <= set(metrics), metrics
"
checkpoint=$PWD/work/iter_4.pth
"$bin/m2h-mm" predict "$photo" "$checkpoint" --out-dir maps
test -s maps/depth/photo.npy && test -s maps/semseg/photo.png && test -s maps/pictures/photo.png

say 'the checkpoint alone, in another folder, from Python'
enter elsewhere
"$bin/python" -c "
from m2h_mm.inference import M2HInferencer
maps = M2HInferencer('$checkpoint', show_progress=False)('$photo')['predictions'][0]
assert maps['depth'].shape == (90, 130), maps['depth'].shape
"

say 'a checkpoint in the layout of the official M2H-small'
enter official
# Random weights under the names and in the shapes that the reference lists.
"$bin/python" -c "
import json, torch
torch.manual_seed(0)
listed = json.load(open('$repository/tests/data/reference/m2h/state_dict_keys.json'))
keys = listed['models']['m2h_small_vits14_channels96_classes41']['keys']
torch.save({key: torch.rand(shape) * 0.02 for key, shape in keys}, 'official.pt')
"
"$bin/m2h-mm" predict "$photo" official.pt --tasks depth semseg --out-dir maps
test -s maps/depth/photo.npy && test -s maps/semseg/photo.png

say 'uninstall'
pip uninstall -q -y m2h_mm
left=$(find "$site" "$bin" -iname 'm2h*mm*')
if [[ -n $left ]]; then
    printf 'left behind:\n%s\n' "$left" >&2
    exit 1
fi
say 'the wheel works, and nothing of it is left'

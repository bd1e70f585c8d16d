"""What stabilisers make of the maps of a video: ``python benchmarks/stability.py``.

Walks through rooms with exact labels and poses, which no model and no stabiliser has seen. Each
frame goes through the network once; its outputs are then finished as they are, with the stabiliser
that looks at the images, and with the pose-warp filter, which is given true poses. Measured are
change from frame to frame, accuracy, and accuracy where a thing that moves has just been. True maps
and maps in the wrong order show what the measures say of the best and the worst.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData

from m2h_mm.engine import install
from m2h_mm.evaluation import MultiTaskEvaluator
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.inference import M2HInferencer
from m2h_mm.inference.pose_warp import PoseWarpFilter
from m2h_mm.inference.stabiliser import ImageStabiliser
from m2h_mm.rooms import WalkOptions
from m2h_mm.rooms.walk import Walk, WalkFrame
from m2h_mm.structures import MultiTaskDataSample

TASKS = ('semseg', 'depth', 'normals', 'edge')
STABILITY = {f'{name}_stability': dict(type=f'{name}_stability', task=name) for name in TASKS}
METRICS = dict(semseg=dict(per_class=False), edge=dict(num_thresholds=11)) | STABILITY
COLUMNS = {
    'flips (%)': 'semseg_stability/flips',
    'depth change (%)': 'depth_stability/change',
    'normals (degrees)': 'normals_stability/angle',
    'edges unmatched (%)': 'edge_stability/unmatched',
    'mIoU': 'semseg/mIoU',
    'abs_rel (%)': 'depth/abs_rel',
    'rmse (m)': 'depth/rmse',
    'normals mean': 'normals/mean',
    'odsF': 'edge/odsF',
    'behind: accuracy (%)': 'behind/accuracy',
    'behind: abs_rel (%)': 'behind/abs_rel',
}
BEHIND = 4  # frames
Outputs = dict[str, torch.Tensor]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--walks', type=int, default=6, help='half of them plain (%(default)s)')
    parser.add_argument('--frames', type=int, default=40, help='of each (%(default)s)')
    parser.add_argument('--fps', type=float, default=15.0, help='(%(default)s)')
    parser.add_argument('--seed', type=int, default=2024, help='of the walks (%(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(168, 224), metavar=('H', 'W'))
    parser.add_argument('--repeats', type=int, default=40, help='timed frames, 8 or more')
    parser.add_argument('--onnx', metavar='FILE', help='the exported model, to be timed as well')
    parser.add_argument('--markdown', metavar='MD')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


class Behind:
    """Accuracy where a thing that moves was in the last frames, and is no more."""

    def __init__(self) -> None:
        self.pixels, self.right, self.error = 0, 0, 0.0

    def add(self, frame: WalkFrame, past: list[np.ndarray], sample: MultiTaskDataSample) -> None:
        if not past or frame.moving is None:
            return
        here = frame.instances == frame.moving
        was = np.any(past[-BEHIND:], axis=0).astype(np.uint8)
        behind = torch.from_numpy((cv2.dilate(was, np.ones((5, 5))) > 0) & ~here)
        classes, depth = (map.data[0][behind] for map in (sample.pred_semseg, sample.pred_depth))
        true = torch.from_numpy(frame.depth)[behind]
        self.pixels += len(true)
        self.right += int((classes == torch.from_numpy(frame.semseg)[behind] - 1).sum())
        self.error += float(((depth - true).abs() / true).sum())

    def measures(self) -> dict[str, float]:
        pixels = self.pixels or float('nan')
        return {
            'behind/accuracy': 100 * self.right / pixels,
            'behind/abs_rel': self.error / pixels,
        }


def walks(args: argparse.Namespace) -> Iterator[tuple[int, Walk]]:
    for index in range(args.walks):
        options = WalkOptions(
            num_frames=args.frames,
            fps=args.fps,
            exposure=('fixed', 'auto')[index // 2 % 2],
            moving=('ball', 'box')[index % 2],
        )
        yield index, Walk(args.seed, index, *args.size, ('plain', 'varied')[index % 2], options)


def labelled(frame: WalkFrame, index: int, walk: int) -> MultiTaskDataSample:
    """A frame with its labels."""
    made = MultiTaskDataSample(
        metainfo=dict(
            sequence=str(walk),
            frame_index=index,
            cam2img=frame.cam2img,
            cam2world=frame.cam2world,
            ori_shape=frame.depth.shape,
        )
    )
    labels = dict(
        semseg=torch.from_numpy(frame.semseg)[None].long() - 1,
        depth=torch.from_numpy(frame.depth)[None],
        normals=torch.from_numpy(frame.normals).permute(2, 0, 1),
        edge=torch.from_numpy(frame.edge)[None].float(),
    )
    valid = torch.ones(1, *frame.depth.shape, dtype=torch.bool)
    for name, value in labels.items():
        made.set_field(PixelData(data=value, valid=valid), f'gt_{name}')
    return made


def predicted(sample: MultiTaskDataSample, maps: dict[str, torch.Tensor]) -> MultiTaskDataSample:
    sample = sample.clone()
    for name, map in maps.items():
        sample.set_field(PixelData(data=map), f'pred_{name}')
    return sample


class Bench:
    """The model, and what is made of its outputs."""

    def __init__(self) -> None:
        self.inferencer = M2HInferencer(show_progress=False)
        self.tasks, self.pipeline = self.inferencer.tasks, self.inferencer.pipeline

    def network(self, image: np.ndarray) -> tuple[Outputs, torch.Tensor, Any]:
        inputs, framings = self.pipeline.prepare([torch.from_numpy(image).permute(2, 0, 1)])
        with torch.inference_mode():
            return self.inferencer.model(inputs, mode='tensor'), inputs, framings[0]

    def finish(self, outputs: Outputs, framing: Any) -> dict[str, torch.Tensor]:
        return {
            name: self.pipeline.finish(self.tasks[name], output, framing)[0]
            for name, output in outputs.items()
        }

    def kinds(self) -> dict[str, Callable[..., dict[str, torch.Tensor]]]:
        """Of each row of the table: outputs of a frame to its maps, with a memory of its own."""
        stabiliser, pose_warp = ImageStabiliser(self.tasks), PoseWarpFilter()

        def by_poses(outputs: Outputs, inputs: torch.Tensor, framing: Any, frame: WalkFrame):
            maps = self.finish(outputs, framing)
            depth, labels = maps['depth'][0].numpy(), maps['semseg'][0].numpy()
            steadied = pose_warp(depth, labels, frame.cam2img, frame.cam2world, frame.timestamp)
            depth, labels = (torch.from_numpy(map)[None] for map in steadied[:2])
            return maps | dict(depth=depth, semseg=labels)

        return {
            'as they are': lambda outputs, inputs, framing, frame: self.finish(outputs, framing),
            'by the images (`--stabilise`)': lambda outputs, inputs, framing, frame: self.finish(
                stabiliser(outputs, inputs), framing
            ),
            "by true poses (M2H-MX's filter)": by_poses,
        }


def measure(bench: Bench, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    tasks = dict(semseg=dict(num_classes=40), depth=None, normals=None, edge=None)
    rows = [*bench.kinds(), 'true maps', 'maps in the wrong order']
    change_alone = dict.fromkeys(TASKS) | STABILITY
    evaluators = {
        row: MultiTaskEvaluator(tasks, METRICS if row in bench.kinds() else change_alone)
        for row in rows
    }
    behind = {row: Behind() for row in rows}
    total = 0
    for number, walk in walks(args):
        kinds, past, samples, maps = bench.kinds(), [], [], []
        for index, frame in enumerate(walk):
            sample = labelled(frame, index, number)
            found = bench.network(frame.image)
            for row, make in kinds.items():
                made = predicted(sample, make(*found, frame))
                evaluators[row].process([made])
                behind[row].add(frame, past, made)
            true = predicted(sample, {name: sample.get(f'gt_{name}').data for name in TASKS})
            evaluators['true maps'].process([true])
            samples.append(sample)
            maps.append(bench.finish(found[0], found[2]))
            past.append(frame.instances == frame.moving)
            total += 1
        order = np.random.default_rng(number).permutation(len(maps))
        for sample, other in zip(samples, order, strict=True):
            evaluators['maps in the wrong order'].process([predicted(sample, maps[other])])
        print(f'walk {number} done', flush=True)
    return {row: evaluators[row].evaluate(total) | behind[row].measures() for row in rows}


def timed(bench: Bench, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of processor time for a frame of 224x288 pixels in one thread, the least of all
    rounds.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options = WalkOptions(num_frames=8, fps=args.fps)
    frames = list(Walk(args.seed, 0, 224, 288, 'plain', options))
    found = [bench.network(frame.image) for frame in frames]
    maps = [bench.finish(outputs, framing) for outputs, _, framing in found]
    stabiliser, pose_warp, turn = ImageStabiliser(bench.tasks), PoseWarpFilter(), {}

    def next_of(name: str) -> int:
        turn[name] = (turn.get(name, -1) + 1) % len(frames)
        return turn[name]

    def filter_poses() -> None:
        i = next_of('poses')
        depth, labels = maps[i]['depth'][0].numpy(), maps[i]['semseg'][0].numpy()
        frame = frames[i]
        pose_warp(depth, labels, frame.cam2img, frame.cam2world, frame.timestamp)

    functions = {
        'model (PyTorch)': lambda: bench.finish(*bench.network(frames[0].image)[::2]),
        'by the images': lambda: stabiliser(*found[next_of('images')][:2]),
        "M2H-MX's filter": filter_poses,
    }
    if args.onnx:
        from m2h_mm.inference.export import load

        run = load(args.onnx, 'onnx')
        image = torch.from_numpy(frames[0].image).permute(2, 0, 1)[None].float()
        functions['model (ONNX Runtime)'] = lambda: run(image)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(args.repeats):
        for name, function in functions.items():
            start = process_time()
            function()
            elapsed = process_time() - start
            # Behind the end of the walk, the stabilisers begin anew, which is fast.
            if number % len(frames) >= len(frames) // 2:
                times[name].append(1000 * elapsed)
    return {name: min(milliseconds) for name, milliseconds in times.items()}


def table(rows: dict[str, dict[str, float]], times: dict[str, float]) -> str:
    lines = [f'| | {" | ".join(COLUMNS)} |', '| --- |' + ' ---: |' * len(COLUMNS)]
    for row, measures in rows.items():
        cells = []
        for title, key in COLUMNS.items():
            value = measures.get(key, float('nan')) * (100 if key.endswith('abs_rel') else 1)
            cells.append(f'{value:.3f}' if '(m)' in title else f'{value:.2f}')
        lines.append(f'| {row} | {" | ".join(cells)} |')
    lines += ['', '| | ms of one core a frame |', '| --- | ---: |']
    return '\n'.join([*lines, *(f'| {name} | {value:.1f} |' for name, value in times.items())])


def main() -> None:
    args = parse_args()
    install()
    bench = Bench()
    times = timed(bench, args)
    rows = measure(bench, args)
    text = table(rows, times)
    print(text)
    if args.markdown:
        with open(args.markdown, 'w') as file:
            file.write(text + '\n')
    if args.out:
        write_report(args.out, dict(versions=versions(), rows=rows, times=times, args=vars(args)))


if __name__ == '__main__':
    main()

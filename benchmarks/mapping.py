"""How true maps are, and what they cost: walks through rooms, their exact depth and the shipped
model's.

    python benchmarks/mapping.py rooms --out DIR   # ten rooms, a line of JSON each, and a summary
    python benchmarks/mapping.py rooms --rooms 3 --frames 45 --fps 8 --stabiliser
    python benchmarks/mapping.py memory            # 2,000 frames through one room after another

Distances are from points of the mesh to the nearest of all points that the frames show, in steps of
5 mm, and back. Times are processor time of the one thread that works.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from m2h_mm.datasets.nyud import NYU40_CLASSES
from m2h_mm.inference.stabiliser import stabilise_network
from m2h_mm.mapping.map_picture import draw_map
from m2h_mm.mapping.mapper import Map, Mapper
from m2h_mm.mapping.mesh import Mesh
from m2h_mm.rooms.walk import Walk, WalkFrame, WalkOptions
from m2h_mm.visualization import save_picture

VOXEL = 0.02
STEP = 0.005
KINDS = len(NYU40_CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=['rooms', 'memory'])
    parser.add_argument('--rooms', type=int, default=10)
    parser.add_argument('--first', type=int, default=0, help='number of the first room')
    parser.add_argument('--frames', type=int, default=24)
    parser.add_argument('--fps', type=float, default=1.5, help='of walks at 0.5 m/s')
    parser.add_argument('--stabiliser', action='store_true', help='also with steadied predictions')
    parser.add_argument('--seed', type=int, default=1, help='of the rooms; the model knows 0')
    parser.add_argument('--out', type=Path, help='folder for the results and the maps')
    parser.add_argument('--no-model', action='store_true', help='true depth alone')
    args = parser.parse_args()
    if args.what == 'memory':
        print(json.dumps(measure_memory(args)))
        return
    model = None if args.no_model else load_model()
    steady = load_model() if args.stabiliser else None
    stabiliser = stabilise_network(steady.model) if steady else None
    results = []
    for index in range(args.first, args.first + args.rooms):
        style = ('plain', 'varied')[index % 2]
        if stabiliser:
            stabiliser.reset()
        results.append(measure_room(args, index, style, model, steady))
        print(json.dumps(results[-1]), flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / 'rooms.json').write_text(json.dumps(results, indent=1))
    print(json.dumps(summary(results), indent=1))


def load_model():
    from m2h_mm.engine import install
    from m2h_mm.inference import M2HInferencer

    install()
    return M2HInferencer(show_progress=False)


def film(args: argparse.Namespace, index: int, style: str, size=(240, 320)) -> list[WalkFrame]:
    options = WalkOptions(num_frames=args.frames, fps=args.fps, speed=0.5)
    return list(Walk(args.seed, index, *size, style=style, options=options))


def measure_room(args: argparse.Namespace, index: int, style: str, model, steady) -> dict:
    frames = film(args, index, style)
    points = [world_points(frame) for frame in frames]
    seen = unique(np.concatenate([cloud.reshape(-1, 3) for cloud in points]))
    classes = [(frame.semseg - 1).astype(np.uint8) for frame in frames]
    true, seconds = build(frames, [frame.depth for frame in frames], classes)
    result = dict(index=index, style=style, frames=len(frames), **seconds)
    found = true.finish()
    result['true'] = compare(found.mesh, seen)
    result['things'] = compare_things(found, frames, points)
    write(args, found, f'{index}_true')
    if model is None:
        return result
    exact = [frame.depth for frame in frames]
    for name, network in (('predicted', model), ('steadied', steady)):
        if network is None:
            continue
        depth, predicted = predict(network, frames)
        mapper, _ = build(frames, depth, predicted)
        mapped = mapper.finish()
        off = [np.abs(d - t).mean() / t.mean() for d, t in zip(depth, exact, strict=True)]
        result[name] = dict(compare(mapped.mesh, seen), depth_error=float(np.mean(off)))
        write(args, mapped, f'{index}_{name}')
        mapper, _ = build(frames, exact, predicted)
        result[f'{name}_classes'] = compare_classes(mapper, true, points, predicted)
    return result


def build(frames, depths, classes) -> tuple[Mapper, dict]:
    mapper = Mapper(NYU40_CLASSES, voxel=VOXEL, far=10.0)
    times = []
    for frame, depth, kinds in zip(frames, depths, classes, strict=True):
        start = time.thread_time()
        mapper.fuse(depth, frame.cam2img, frame.cam2world, frame.image, kinds)
        times.append(time.thread_time() - start)
    # The first frame of a process compiles.
    seconds = dict(fuse_ms=1e3 * float(np.mean(times[1:])), mib=mapper.volume.memory)
    return mapper, seconds


def predict(model, frames) -> tuple[list[np.ndarray], list[np.ndarray]]:
    fx, fy, cx, cy = (frames[0].cam2img[at] for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    model.camera = (fx, fy, cx, cy)
    images = ((str(number), frame.image) for number, frame in enumerate(frames))
    maps = [prediction.maps for prediction in model.stream(images, ['depth', 'semseg'])]
    return [map['depth'] for map in maps], [map['semseg'].astype(np.uint8) for map in maps]


def world_points(frame: WalkFrame) -> np.ndarray:
    """(H, W, 3) what each pixel sees."""
    rows, columns = np.mgrid[: frame.depth.shape[0], : frame.depth.shape[1]]
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(frame.cam2img).T
    return (rays * frame.depth[..., None]) @ frame.cam2world[:3, :3].T + frame.cam2world[:3, 3]


def unique(points: np.ndarray) -> np.ndarray:
    cells = np.rint(points / STEP).astype(np.int64) + 2**15
    packed = np.unique((cells[:, 0] << 32) | (cells[:, 1] << 16) | cells[:, 2])
    cells = np.stack([packed >> 32, packed >> 16 & 65535, packed & 65535], 1)
    return (cells - 2**15) * STEP


def compare(mesh: Mesh, seen: np.ndarray) -> dict:
    """Metres from the mesh to what was seen; the share of what was seen that has a mesh near."""
    away, _ = cKDTree(seen).query(mesh.points[::5], workers=1)
    middles = mesh.points[mesh.triangles].mean(axis=1)
    surface = cKDTree(np.concatenate([mesh.points, middles]))
    missed, _ = surface.query(seen[:: max(len(seen) // 20000, 1)], distance_upper_bound=0.2)
    return dict(
        median=float(np.median(away)),
        p90=float(np.percentile(away, 90)),
        complete_1_voxel=float((missed < VOXEL).mean()),
        complete_5cm=float((missed < 0.05).mean()),
        complete_10cm=float((missed < 0.1).mean()),
        points=len(mesh.points),
    )


def compare_classes(mapper: Mapper, true: Mapper, points, predicted) -> dict:
    """mIoU against the true class of a voxel: of single frames and of the map at the voxels that
    each frame sees, and of the map at every voxel of the surface once.
    """
    single, fused = np.zeros((2, KINDS, KINDS), np.int64)
    for cloud, kinds in zip(points, predicted, strict=True):
        voxels = np.rint(cloud.reshape(-1, 3) / VOXEL).astype(np.int64)
        voxels, first = np.unique(voxels, axis=0, return_index=True)
        truth = true.volume.look_up(voxels)['classes'][:, 0]
        count(single, truth, kinds.reshape(-1)[first])
        count(fused, truth, mapper.volume.look_up(voxels)['classes'][:, 0])
    once = np.zeros((KINDS, KINDS), np.int64)
    cells = np.unique(np.rint(np.concatenate([c.reshape(-1, 3) for c in points]) / VOXEL), axis=0)
    count(
        once,
        *(volume.look_up(cells)['classes'][:, 0] for volume in (true.volume, mapper.volume)),
    )
    return dict(single_frames=mean_iou(single), map_same_voxels=mean_iou(fused), map=mean_iou(once))


def count(confusion: np.ndarray, truth: np.ndarray, found: np.ndarray) -> None:
    known = (truth < KINDS) & (found < KINDS)
    np.add.at(confusion, (truth[known], found[known]), 1)


def mean_iou(confusion: np.ndarray) -> float:
    right = np.diag(confusion)
    present = confusion.sum(axis=1) > 0
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    return float((right[present] / union[present]).mean())


def compare_things(found: Map, frames: list[WalkFrame], points) -> dict:
    """The generator's things of which 0.04 square metres or more were seen, against those found: of
    the same class, and their middles less than 0.3 m apart.
    """
    roles_of = {}
    clouds: dict[int, list[np.ndarray]] = {}
    for frame, cloud in zip(frames, points, strict=True):
        for instance in np.unique(frame.instances):
            mask = frame.instances == instance
            clouds.setdefault(int(instance), []).append(cloud[mask])
            roles_of[int(instance)] = int(frame.semseg[mask][0]) - 1
    things = Mapper(NYU40_CLASSES, voxel=VOXEL).roles.thing
    truth = []
    for instance, parts in clouds.items():
        cells = np.unique(np.rint(np.concatenate(parts) / VOXEL), axis=0)
        if things[roles_of[instance]] and len(cells) * VOXEL**2 >= 0.04:
            low, high = np.percentile(cells * VOXEL, (0.5, 99.5), axis=0)
            truth.append((roles_of[instance], (low + high) / 2))
    left, matched = list(found.graph.objects), 0
    for kind, middle in truth:
        near = [
            (float(np.linalg.norm(thing.bounds.mean(axis=0) - middle)), place)
            for place, thing in enumerate(left)
            if thing.class_number == kind
        ]
        if near and min(near)[0] < 0.3:
            left.pop(min(near)[1])
            matched += 1
    rooms = len(found.graph.plan.rooms)
    return dict(true=len(truth), found=len(found.graph.objects), matched=matched, rooms=rooms)


def measure_memory(args: argparse.Namespace) -> dict:
    """2,000 frames of 160x120 through copies of a room, each 10 m from the last, with memory for
    a few only.
    """
    frames = film(args, 0, 'plain', (120, 160))
    mapper = Mapper(NYU40_CLASSES, voxel=VOXEL, memory=256)
    marks, fused = [], 0
    while fused < 2000:
        for frame in frames:
            pose = frame.cam2world.copy()
            pose[0, 3] += 10.0 * (fused // len(frames))
            mapper.fuse(frame.depth, frame.cam2img, pose, frame.image, frame.semseg - 1)
            fused += 1
        marks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    volume = mapper.volume
    return dict(
        frames=fused,
        voxels_mib=round(volume.memory, 1),
        refused=volume.refused,
        process_mib_after=[round(marks[at]) for at in (0, len(marks) // 4, len(marks) // 2, -1)],
    )


def write(args: argparse.Namespace, map: Map, name: str) -> None:
    if args.out and name[0] in '01':  # of the first rooms, to be looked at
        picture = draw_map(map.mesh, map.graph, map.cameras)
        save_picture(picture, args.out / f'{name}.png')


def summary(results: list[dict]) -> dict:
    """Means over rooms, of every number that all have."""
    means: dict = {}
    for name, value in results[0].items():
        if isinstance(value, dict):
            means[name] = summary([result[name] for result in results])
        elif isinstance(value, float):
            numbers = [result[name] for result in results]
            means[name] = [round(float(f(numbers)), 4) for f in (np.min, np.mean, np.max)]
        elif isinstance(value, int):
            means[name] = int(np.sum([result[name] for result in results]))
    return means


if __name__ == '__main__':
    main()

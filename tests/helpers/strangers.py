"""Files that run code when they are unpickled, alone and in data sets."""

import io
import os
import pickle

import cv2
import numpy as np
import torch


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return os.mkdir, (str(self.crater),)


class Stranger:
    """Writes files that run code when they are unpickled.

    Attributes:
        crater: is there if one did.
        files: those that were written.
    """

    def __init__(self, folder):
        self.crater, self.folder, self.files = folder / 'crater', folder, []

    def file(self, name):
        """As NumPy or torch would write it, by the ending; anything else is a plain pickle."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bomb, buffer = Bomb(self.crater), io.BytesIO()
        if path.suffix == '.pth':
            torch.save(dict(state_dict=bomb), buffer)
        elif path.suffix == '.npy':
            np.save(buffer, np.array([[bomb] * 4] * 4, dtype=object), allow_pickle=True)
        elif path.suffix == '.npz':
            np.savez(buffer, a=np.array([bomb], dtype=object))
        else:
            buffer.write(pickle.dumps(bomb))
        path.write_bytes(buffer.getvalue())
        self.files.append(path)
        return path

    def data(self, **labels):
        """The folder of a data set like NYUD, of one frame, whose labels are such files."""
        root = self.folder / 'data'
        for split in ('train', 'val'):
            (root / 'gt_sets').mkdir(parents=True, exist_ok=True)
            (root / 'gt_sets' / f'{split}.txt').write_text('0\n')
        picture(root / 'images' / '0.png')
        for folder, suffix in labels.items():
            self.file(f'data/{folder}/0{suffix}')
        return root

    def folder_of(self, *names):
        for name in names:
            self.file(f'source/{name}')
        return self.folder / 'source'


def with_pretrained(config, path):
    extended = config.with_name('pretrained.py')
    extended.write_text(
        f"_base_ = '{config}'\nmodel = dict(backbone=dict(init_cfg=dict(\n"
        f"    _delete_=True, type='Pretrained', checkpoint='{path}')))\n"
    )
    return extended


def in_work_dir(stranger):
    return stranger.file('work/iter_3.pth').parent


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((30, 44, 3), np.uint8))


def pascal_context(stranger):
    root = stranger.folder_of('human_parts/0.mat', 'pascal-context/trainval/0.mat')
    for split in ('train', 'val'):
        (root / 'ImageSets' / 'Context').mkdir(parents=True, exist_ok=True)
        (root / 'ImageSets' / 'Context' / f'{split}.txt').write_text(
            '0\n' if split == 'train' else ''
        )
    for folder in ('semseg/pascal-context', 'sal_distill', 'normals_distill'):
        (root / folder).mkdir(parents=True)
    picture(root / 'JPEGImages' / '0.jpg')
    return root


def cityscapes(stranger):
    frames = [
        f'{package}/{split}/a/a_0_0_{ending}'
        for split in ('train', 'val')
        for package, ending in (
            ('gtFine', 'gtFine_labelIds.png'),
            ('gtFine', 'gtFine_instanceIds.png'),
            ('disparity', 'disparity.png'),
            ('camera', 'camera.json'),
        )
    ]
    for split in ('train', 'val'):
        picture(stranger.folder / 'source' / 'leftImg8bit' / split / 'a' / 'a_0_0_leftImg8bit.png')
    return stranger.folder_of(*frames)

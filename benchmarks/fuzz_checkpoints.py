"""What is fuzzed of checkpoints: of trainings, of models, of backbones, and files of any origin."""

from __future__ import annotations

import copy
import io
import os
import pickle
import shutil
import subprocess
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_guard import REPOSITORY, Attempt, Implausible
from fuzz_mutate import NAMES, mutate_bytes, mutate_tree, mutate_zip, pick, to_json
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from safetensors.torch import save
from torch import nn

from m2h_mm.cli.convert_checkpoint import (
    convert_invpt,
    convert_m2h,
    convert_mti_net,
    convert_state,
)
from m2h_mm.engine import install
from m2h_mm.engine.checkpoint_search import find_checkpoint
from m2h_mm.engine.checkpoints import initial_weights
from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.engine.resume import refuse_other
from m2h_mm.inference.loading import load_model
from m2h_mm.inference.publishing import PUBLISHED_KEY, read_published
from m2h_mm.models.backbones import DINOv3
from m2h_mm.registry import MODELS
from m2h_mm.structures.checkpoint_file import read_checkpoint

FACTS = dict(name='x', iterations=3, results=dict(metrics={'depth/rmse': 0.5}, num_frames=2))
SMALL = {'model.decoder.interaction': dict(_delete_=True, type='NoInteraction')}


def odd_tensor(rng: np.random.Generator) -> Any:
    """A tensor of another shape or kind, or what is none."""
    shape = pick(
        rng, ((), (0,), (1,), (3, 2), (2, 3), (6,), (1, 2, 3), (2, 3, 1, 1), (5000,), (2**31, 0))
    )
    zero = torch.zeros(shape)
    return pick(
        rng,
        (
            zero, zero.half(), zero.bool(), zero.to(torch.complex64), zero.long(), zero - 1,
            zero / 0, torch.zeros(2, 3).to_sparse(), torch.zeros(1).expand(2**40),
            torch.quantize_per_tensor(torch.zeros(2, 3), 1.0, 0, torch.qint8), zero.bfloat16(),
            torch.empty((2, 3), device='meta'), np.zeros(3), OrderedDict(a=zero),
            nn.Parameter(torch.zeros(2, 3)), torch.Size((2, 3)), torch.zeros(3, 2).t(),
            zero.to(torch.uint8), -zero.long() - 1, torch.float32, {1: zero}, {'a': {'b': zero}},
        ),
    )  # fmt: skip


class Code:
    """Runs something when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Tiny(nn.Module):
    """A network of a few weights, for what resumes a training."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.first(x))


class StandIn(Runner):
    """What a resume asks of a runner, without data."""

    train_loop = None

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.train_loop = type('Loop', (), dict(_max_iters=100, max_epochs=1))()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        self.optim_wrapper = OptimWrapper(optimizer)
        self.param_schedulers = [torch.optim.lr_scheduler.ConstantLR(optimizer)]

    def step(self) -> None:
        loss = self.model(torch.ones(4, 3)).square().sum() + self.model.first.weight.sum()
        self.optim_wrapper.update_params(loss)

    def content(self) -> dict:
        hub = dict(
            log_scalars={
                'train/loss': dict(values=torch.ones(3), counts=torch.ones(3), max_length=10)
            },
            runtime_info=dict(
                keep_ckpt_ids=[1], outdated_ckpts=['iter_1.pth'], validated_iter=2, run_id='a',
                best_score=0.5, best_ckpt='best_1.pth', last_ckpt='iter_3.pth', iter=3,
            ),
            resumed_keys={'train/loss': True},
        )  # fmt: skip
        return dict(
            meta=dict(epoch=0, iter=3, seed=0, optimizer={'': 'AdamW'}, experiment_name='x'),
            state_dict=self.model.state_dict(),
            message_hub=hub,
            optimizer=self.optim_wrapper.state_dict(),
            param_schedulers=[each.state_dict() for each in self.param_schedulers],
            random_state=dict(cpu=torch.get_rng_state()),
        )


def authors_dinov3(backbone: DINOv3) -> dict[str, torch.Tensor]:
    """Parameters of a DINOv3 of one block as its authors write them."""
    state = dict(backbone.state_dict())
    state['storage_tokens'] = state.pop('register_tokens')
    weights = [state.pop(f'blocks.0.attn.{part}_proj.weight') for part in 'qkv']
    biases = [state.pop(f'blocks.0.attn.{part}_proj.bias') for part in 'qv']
    zero = torch.zeros_like(biases[0])
    state['blocks.0.attn.qkv.weight'] = torch.cat(weights)
    state['blocks.0.attn.qkv.bias'] = torch.cat([biases[0], zero, biases[1]])
    state['blocks.0.attn.qkv.bias_mask'] = torch.cat([zero + 1, zero, zero + 1])
    return {**state, 'rope_embed.periods': backbone.rope.periods()}


class Checkpoints:
    """Files that are given as checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        install()
        torch.manual_seed(0)
        runner = StandIn(Tiny())
        runner.step()
        self.training = copy.deepcopy(runner.content())
        toy = load_config(REPOSITORY / 'tests' / 'data' / 'toy_m2h.py', SMALL)
        self.description = describe_model(toy).to_plain()
        model = MODELS.build(toy.model)
        self.model_config, self.model = toy, model
        dinov3 = DINOv3(dict(embed_dims=8, depth=1, num_heads=2), (0,))
        self.backbones = dict(backbone=model.backbone, dinov3=dinov3)
        self.weights = dict(meta={META_KEY: self.description}, state_dict=model.state_dict())
        official = {
            **{f'backbone.{key}': value for key, value in model.backbone.state_dict().items()},
            'mlt_head.seg_out.final_conv.weight': torch.zeros(41, 8, 1, 1),
            'mlt_head.convs.0.conv.weight': torch.zeros(8, 8, 3, 3),
            **{
                f'mlt_head.reassemble_blocks.projects.{i}.conv.weight': torch.zeros(8, 24, 1, 1)
                for i in range(4)
            },
            'mlt_head.cross_attn.0.q.weight': torch.zeros(8, 8),
        }
        invpt = {
            'multi_task_decoder.semseg.weight': torch.zeros(8, 8),
            'heads.semseg.linear_pred.weight': torch.zeros(40, 8, 1, 1),
        }
        mti_net = {
            'distillation_scale_0.semseg.weight': torch.zeros(8, 8),
            'multi_modal_distillation.self_attention.semseg.depth.conv1.weight': torch.zeros(8, 8),
            'heads.depth.last_layer.0.weight': torch.zeros(8, 8, 1, 1),
        }
        self.trees = dict(
            training=self.training,
            description=self.weights,
            backbone=dict(model.backbone.state_dict()),
            dinov3=authors_dinov3(dinov3),
            official=official,
            invpt=invpt,
            mti_net=mti_net,
        )
        self.files = {name: _saved(tree) for name, tree in self.trees.items()}
        self.others = [*self.files.values(), _saved(official, legacy=True), *_foreign()]
        init_default_scope('m2h_mm')

    def make(self, rng: np.random.Generator) -> Attempt:
        path = self.folder / pick(
            rng, ('iter_3.pth',) * 8 + ('weights.npz', 'x.safetensors', 'x.pt')
        )
        name = pick(rng, ('training',) * 6 + ('description',) * 4 + tuple(self.trees))
        note = ''
        way = rng.random()
        if rng.random() < 0.2:
            path, name = self.folder / 'x.safetensors', 'description'
            data, note = self.shared(rng)
        elif way < 0.25:
            data = mutate_bytes(rng, pick(rng, self.others), self.others)
        elif way < 0.45:
            data = mutate_zip(rng, self.files[name], self.others)
        elif way < 0.55:
            data, note = self.hostile(rng)
        else:
            tree = self.trees[name]
            if name == 'description' and rng.random() < 0.8:  # its weights are another matter
                description, note = mutate_tree(rng, self.description)
                tree = {**tree, 'meta': {META_KEY: description}}
            else:
                tree, note = mutate_tree(rng, tree, [odd_tensor] * 30)
            try:
                data = _saved(tree, legacy=rng.random() < 0.1)
            except Exception:  # what cannot be saved is no file
                data = pickle.dumps(None)
        path.write_bytes(data)
        return Attempt(self.calls(name, path), [path.name], [path], f'{name}: {note}')

    def calls(self, name: str, path: Path) -> dict:
        calls = dict(read=lambda: read_checkpoint(path), resume=lambda: self.resume(path))
        if name != 'training':
            calls = dict(read=calls['read'])
            calls['load_from'] = lambda: initial_weights(
                self.model.state_dict(), read_checkpoint(path), path
            )
        if path.suffix == '.safetensors':
            calls['published'] = lambda: read_published(path)
        if name == 'description' or name == 'official':
            calls['load_model'] = lambda: load_model(path)
        if name != 'training':
            calls['load_model with config'] = lambda: load_model(path, self.model_config)
        if name in self.backbones:
            calls['backbone'] = lambda: self.load_backbone(name, path)
        convert = dict(official=convert_m2h, invpt=convert_invpt, mti_net=convert_mti_net).get(name)
        if convert is not None:
            given = Namespace(src=path, partial=False, convert_state=convert)
            calls['convert'] = lambda: convert_state(given, self.model)
        calls['search'] = lambda: self.search(path)
        return calls

    def load_backbone(self, name: str, path: Path) -> None:
        backbone = copy.deepcopy(self.backbones[name])
        backbone.init_cfg = dict(type='Pretrained', checkpoint=str(path))
        backbone.init_weights()

    def resume(self, path: Path) -> None:
        """As ``--resume`` does it, and a step behind it."""
        runner = StandIn(Tiny())
        content = read_checkpoint(path)
        refuse_other(runner, content, path, None)
        runner.model.load_state_dict(content['state_dict'])
        if content.get('optimizer') is not None:
            runner.optim_wrapper.load_state_dict(content['optimizer'])
        runner.step()

    def search(self, path: Path) -> None:
        """In a work dir in which it is the last one."""
        work = self.folder / 'work'
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        shutil.copyfile(path, work / 'iter_3.pth')
        (work / 'last_checkpoint').write_bytes(path.read_bytes()[:200])
        found, _ = find_checkpoint(work)
        if found is not None and found.parent != work:
            raise Implausible(f'the search leads to {found}')

    def shared(self, rng: np.random.Generator) -> tuple[bytes, str]:
        """A file of safetensors, wrong in what it says, in its header or anywhere."""
        meta = {META_KEY: self.description, PUBLISHED_KEY: FACTS}
        changed, note = mutate_tree(rng, meta) if rng.random() < 0.6 else (meta, '')
        changed = changed if isinstance(changed, dict) else {META_KEY: changed}
        text = {str(name): to_json(rng, value) for name, value in changed.items()}
        text = {name: value.decode('utf-8', 'replace') for name, value in text.items()}
        data = save(self.model.state_dict(), text)
        if note and rng.random() < 0.8:
            return data, note
        end = 8 + int.from_bytes(data[:8], 'little')
        head = mutate_bytes(rng, data[8:end], self.others)
        if rng.random() < 0.3:
            return mutate_bytes(rng, data, self.others), f'{note} anywhere'
        length = pick(rng, (len(head), len(head), end - 8, 2**40))
        return length.to_bytes(8, 'little') + head + data[end:], f'{note} in the header'

    def hostile(self, rng: np.random.Generator) -> tuple[bytes, str]:
        """A file that would run code, or that only looks like a checkpoint."""
        crater = str(self.folder.parent / 'outside' / 'crater')
        code = pick(
            rng,
            (
                Code(os.mkdir, crater), Code(os.system, f'touch {crater}'), Code(eval, '1'),
                Code(subprocess.Popen, ['touch', crater]), Code(getattr, dict, 'get'),
                Code(exec, f'import os; os.mkdir({crater!r})'), Code(open, crater, 'w'),
                Code(pickle.loads, b'.'), Code(shutil.rmtree, crater), Code(bytearray, 2**40),
                Code(np.zeros, 2**40), Code(torch.zeros, 2**40), nn.Linear(2, 3), print,
                Path(crater),
                Code(__import__, 'socket'), Code(copy.deepcopy, [1]), slice(3), range(2**60),
            ),
        )  # fmt: skip
        place = pick(rng, ('state_dict', 'meta', 'optimizer', 'x'))
        content = pick(
            rng, (code, {**self.training, place: code}, dict(state_dict={'a': code}), [code])
        )
        how = int(rng.integers(4))
        if how == 0:
            return pickle.dumps(content, protocol=int(rng.integers(0, 6))), repr(code)
        if how == 3:
            buffer = io.BytesIO()
            array = np.empty(1, object)
            array[0] = code
            np.savez(buffer, a=array)
            return buffer.getvalue(), f'npz {code!r}'
        return _saved(content, legacy=how == 1), repr(code)


def _saved(content: Any, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _foreign() -> list[bytes]:
    """What is met under the name of a checkpoint."""
    header = b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    safetensors = len(header).to_bytes(8, 'little') + header + bytes(24)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return [
        safetensors,
        buffer.getvalue(),
        b'<!DOCTYPE html><html>404</html>',
        b'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n',
        b'\x80\x02.',
        b'PK\x03\x04' + bytes(60),
        b'\x1f\x8b' + bytes(60),
        b'ustar' * 200,
        *(name.encode('utf-8', 'surrogatepass') for name in NAMES if name),
    ]

"""The evaluated model is the deployed model: test loop, inferencer and exported file agree."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image

from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.inference.export import example, export, load
from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.loading import load_model
from m2h_mm.models.pipeline import Framing
from m2h_mm.registry import DATASETS, MODELS

# One config per data set, the size of its images, and at which the network is to see them; both
# sides are half of what they are in the config.
CASES = {
    'm2h_vits_nyud': ((212, 280), (212, 280)),
    'm2h_vits_hypersim': ((384, 512), (240, 320)),
    'm2h_vits_cityscapes': ((256, 512), (256, 512)),
    'm2h_vits_pascal': ((166, 250), (166, 250)),
    'm2h_tiny_rooms': ((84, 112), (84, 112)),
}
# Of this a file is written too: its images are resized and padded, and its tasks exchange. Of the
# others, what would be in the file is called: to write one takes ten times as long.
EXPORTED = 'm2h_vits_hypersim'
# In the place of the pretrained backbone, and narrow all through. With fewer channels there are
# pixels at which all are nearly the same, and a norm over them makes much of the rounding.
CHANNELS = 24
SMALL = {
    'model.backbone.arch': dict(_delete_=True, embed_dims=24, depth=4, num_heads=3),
    'model.backbone.out_indices': (0, 1, 2, 3),
    'model.backbone.img_size': 140,
    'model.backbone.init_cfg': None,
    'model.neck.out_channels': CHANNELS,
    'model.neck.mid_channels': (8, 8, 16, 16),
    'model.decoder.channels': CHANNELS,
    'model.decoder.interaction.num_heads': 2,
    'model.decoder.interaction.num_layers': 1,
}
TOLERANCE = 1e-5  # of the range of a task's values:
RANGES = dict(depth=10.0, disparity=128.0, normals=2.0, edge=1.0, saliency=1.0)


def small_config(name, root):
    cfg = load_config(name, SMALL)
    for head in cfg.model.heads.values():
        head.hidden_channels = (CHANNELS,)
    if name != 'm2h_tiny_rooms':
        preprocessor = cfg.model.data_preprocessor
        preprocessor.size = tuple(length // 2 for length in preprocessor.size)
    if name not in (EXPORTED, 'm2h_tiny_rooms'):
        cfg.model.decoder.interaction = dict(type='NoInteraction')
        cfg.model.decoder.merger = None
    dataset = cfg.test_dataloader.dataset
    dataset.update(data_root=str(root))
    if dataset.type == 'RoomsDataset':
        dataset.update(num_train=1, num_val=1, num_workers=0)
    return cfg


def write_frame(root, size, split):
    """One image of smooth noise in the layout of all data sets, without labels."""
    for folder in ('images', 'gt_sets'):
        (root / folder).mkdir(parents=True)
    pixels = example(size)[0].permute(1, 2, 0).numpy().round().astype(np.uint8)
    Image.fromarray(pixels).save(root / 'images' / 'frame.png')
    (root / 'gt_sets' / f'{split}.txt').write_text('frame\n')


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """Config, data set of one frame, and a checkpoint as a training writes it."""
    torch.manual_seed(0)
    cfg = small_config(request.param, tmp_path / 'data')
    dataset_cfg = cfg.test_dataloader.dataset
    if dataset_cfg.type != 'RoomsDataset':
        write_frame(tmp_path / 'data', CASES[request.param][0], dataset_cfg.split)
    model = MODELS.build(cfg.model)
    for head in model.heads.values():  # as they start, they say the same of every pixel
        for name, parameter in head.named_parameters():
            if parameter.ndim > 1:
                gain = 0.25 if name == 'final.weight' else 1.0
                torch.nn.init.normal_(parameter, std=gain * parameter[0].numel() ** -0.5)
    if 'normals' in model.tasks:
        # Turned toward the camera: a vector of no length has a direction by chance alone.
        model.heads['normals'].final.bias.data[2] = 4.0
    checkpoint = tmp_path / 'iter_1.pth'
    meta = {META_KEY: describe_model(cfg).to_plain()}
    torch.save(dict(meta=meta, state_dict=model.state_dict()), checkpoint)
    return request.param, model, DATASETS.build(copy.deepcopy(dataset_cfg)), checkpoint


class Scores:
    """A task whose predictions are the scores of its classes."""

    def __init__(self, task):
        self.resize_output, self.decode = task.resize_output, lambda output: output


def require_same(task, found, expected, scores):
    """Within the tolerance; another class only where two scores are as close as that."""
    if expected.is_floating_point():
        atol = TOLERANCE * RANGES[task.name]
        assert expected.std() > 10 * atol
        assert (found - expected).abs().max() <= atol
        return
    first, second = scores.topk(2, dim=0).values
    unsure = first - second <= 2 * TOLERANCE * float(scores.max() - scores.min())
    differs = found[0] != expected[0]
    assert not (differs & ~unsure).any() and differs.float().mean() < 1e-3


def test_test_loop_inferencer_and_exported_file_agree(case, tmp_path):
    name, model, dataset, checkpoint = case
    size, seen = CASES[name]
    with torch.inference_mode():
        packed = dataset[0]
        image = packed['inputs']
        (sample,) = model.eval().test_step(pseudo_collate([packed]))
        framing = sample.framing
        assert framing[:2] == (size, seen) == Framing(size, seen)[:2]
        inputs, _ = model.pipeline.prepare([image])
        outputs = model(inputs, mode='tensor')
    assert image.dtype == torch.uint8 and tuple(image.shape[1:]) == size

    inferencer = M2HInferencer(checkpoint, device='cpu', show_progress=False)
    maps = inferencer(image.permute(1, 2, 0).numpy())['predictions'][0]
    deployed = DeployedModel(load_model(checkpoint)[0]).eval()
    with torch.inference_mode():
        exported = deployed(image[None].float())
    if name == EXPORTED:
        pytest.importorskip('onnxscript')
        pytest.importorskip('onnxruntime')
        export(deployed, tmp_path / 'model.onnx', 'onnx', size)
        exported = load(tmp_path / 'model.onnx', 'onnx')(image[None].float())

    for (task_name, task), onnx_map in zip(model.tasks.items(), exported, strict=True):
        expected = sample.get(task.pred_field).data
        assert tuple(expected.shape[1:]) == size
        scores = model.pipeline.finish(Scores(task), outputs[task_name], framing)[0]
        map = torch.from_numpy(maps[task_name]).reshape(*size, -1).permute(2, 0, 1)
        require_same(task, map, expected, scores)
        require_same(task, onnx_map[0], expected, scores)

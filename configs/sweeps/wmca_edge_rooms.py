# Why window attention between tasks helps or does not: one change of WMCA at a time, with frames,
# schedule and seeds of edge_rooms.py, at one learning rate. 12 variants, 48 trainings.
_base_ = './edge_rooms.py'


def _wmca(**options):
    return {'model.decoder.interaction': options}


variants = dict(
    _delete_=True,
    wmca=dict(),
    unpooled=_wmca(pooling=1),
    shifted=_wmca(shift_size=3, mask_padding=True),
    position_bias=_wmca(position_bias=True),
    same_pixel=_wmca(window_size=1),
    other_tasks=_wmca(listens_to='others'),
    heads_per_task=_wmca(listens_to='task_per_head'),
    weights_per_task=_wmca(per_task=['qkv', 'proj', 'ffn']),
    pre_norm=_wmca(pre_norm=True),
    residual=_wmca(residual=True),
    residual_from_one=_wmca(residual=True, layer_scale=1.0),
    all=_wmca(residual=True, pre_norm=True, position_bias=True, shift_size=3, mask_padding=True),
)
single_task = None
tune = None
options = {
    'optim_wrapper.optimizer.lr': 1.5e-3,
    'model.consistency': [],
    'model.weighting.interval': 100,
}

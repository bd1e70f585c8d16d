# From M2H to M2H-fast, one change after the other, and M2H-small: an eighth of their channels behind the tiny backbone. Rooms, from
# scratch: 22 trainings.
base = 'configs/m2h/m2h_tiny_rooms.py'


def m2h(channels=32, hidden_channels=(16, 8), pooling=1, tasks=('semseg', 'depth'), **decoder):
    return dict(model=dict(
        neck=dict(out_channels=channels),
        decoder=dict(channels=channels, interaction=dict(num_heads=4, pooling=pooling), merger=dict(tasks=tasks), **decoder),
        heads={task: dict(hidden_channels=hidden_channels) for task in ('semseg', 'depth', 'normals', 'edge')}))


def small():
    model = m2h(pooling=2)['model']
    for part in (model['neck'], model['decoder'], model['decoder']['merger'], *model['heads'].values()):
        part['separable'] = True
    model['decoder']['interaction']['reduction'] = 4
    return dict(model=model)


def steps():
    options = {}
    for name, change in dict(
            m2h={},
            coarser_maps=dict(upsample_last=False, hidden_channels=(16,)),
            one_fusion=dict(shared_fusion=True),
            attention_at_half=dict(pooling=2),
            merged_for_all=dict(tasks=('semseg', 'depth', 'normals', 'edge')),
            m2h_fast=dict(channels=16, hidden_channels=(8,))).items():
        options.update(change)
        yield name, m2h(**options)
    yield 'm2h_small', small()


variants = dict(steps())
single_task = 'm2h'
seeds = [0, 1]
max_iters = 1200

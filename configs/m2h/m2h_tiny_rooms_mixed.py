# One training on three data sets that know different things: rooms with all labels, with depth
# alone, and with classes alone. Each is drawn equally often, whatever its size, and evaluated on
# its own: rooms/depth/rmse, depth_rooms/depth/rmse.
_base_ = './m2h_tiny_rooms.py'

rooms = dict(type='RoomsDataset', data_root='data/rooms', size=(84, 112), num_val=100)
datasets = dict(
    rooms=dict(**rooms, num_train=1600),
    depth_rooms=dict(**rooms, num_train=800, seed=1, tasks=['depth']),
    class_rooms=dict(**rooms, num_train=400, seed=2, tasks=['semseg']),
)
train_dataloader = dict(
    batch_size=3,
    sampler=dict(_delete_=True, type='BalancedSampler'),
    dataset=dict(
        _delete_=True,
        type='MixedDataset',
        datasets=datasets,
        split='train',
        pipeline={{_base_.train_pipeline}},
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MixedDataset',
        datasets=datasets,
        split='val',
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='MixedEvaluator')
test_evaluator = dict(type='MixedEvaluator')
default_hooks = dict(checkpoint=dict(save_best='rooms/semseg/mIoU'))

# M2H-edge trained on pairs of neighbouring frames of short walks through many rooms, evaluated on
# long walks, frame by frame in order.
_base_ = './m2h_edge_lite0_rooms.py'

walks = dict(type='RoomWalksDataset', style='varied')
train_dataloader = dict(
    # Two frames of a walk, 0.2 s apart, with the same random transforms; batch_size is even.
    sampler=dict(type='ClipSampler', clip_length=2, stride=3),
    dataset=dict(**walks, num_train=400, num_val=0, walk=dict(num_frames=6)),
)
val_dataloader = dict(
    sampler=dict(type='SequenceSampler'),
    dataset=dict(**walks, num_train=1, num_val=8, walk=dict(num_frames=60)),
)
test_dataloader = val_dataloader

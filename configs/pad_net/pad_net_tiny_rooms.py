# PAD-Net with backbone, data, losses and schedule of configs/mti_net/mti_net_tiny_rooms.py.
_base_ = '../mti_net/mti_net_tiny_rooms.py'

model = dict(
    decoder=dict(_delete_=True, type='PADNetDecoder', channels=32),
    heads=dict(
        semseg=dict(type='PADNetHead'),
        depth=dict(type='PADNetHead'),
        normals=dict(type='PADNetHead'),
        edge=dict(type='PADNetHead'),
    ),
)

# TaskPrompter from scratch, with the data, losses and schedule of configs/invpt/invpt_tiny_rooms.py
# and a backbone of the size of the one there.
_base_ = '../invpt/invpt_tiny_rooms.py'

model = dict(
    # Windows are 3x4 of the 6x8 patches of a frame; every frame has two by two.
    data_preprocessor=dict(size_divisor=28),
    backbone=dict(
        _delete_=True,
        type='TaskPrompterViT',
        arch=dict(embed_dims=192, depth=4, num_heads=3),
        img_size=(84, 112),
        patch_size=14,
        stem_channels=(32, 32, 64),
        windows=2,
        decode_channels=32,
        channels=32,
        reweighting=True,
    ),
    decoder=dict(_delete_=True, type='TaskMapsDecoder'),
    heads=dict(
        semseg=dict(type='TaskPrompterHead'),
        depth=dict(type='TaskPrompterHead'),
        normals=dict(type='TaskPrompterHead'),
        edge=dict(type='TaskPrompterHead'),
    ),
)

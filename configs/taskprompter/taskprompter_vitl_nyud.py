# TaskPrompter as published, 512 M parameters without the 1 M that have no effect, with losses, data
# and schedule of InvPT and batches of two on two GPUs:
#   CONFIG=configs/taskprompter/taskprompter_vitl_nyud.py
#   torchrun --nproc_per_node 2 tools/train.py $CONFIG --launcher pytorch
# The authors' checkpoint is used as it is: python tools/test.py THIS CHECKPOINT.
_base_ = '../invpt/invpt_vitl_nyud.py'

model = dict(
    backbone=dict(type='TaskPrompterViT'),
    decoder=dict(_delete_=True, type='TaskMapsDecoder'),
    heads=dict(
        semseg=dict(type='TaskPrompterHead'),
        depth=dict(type='TaskPrompterHead'),
        normals=dict(type='TaskPrompterHead'),
        edge=dict(type='TaskPrompterHead'),
    ),
)

auto_scale_lr = dict(base_batch_size=4)

# InvPT as published, 395 M parameters without the 7 M that have no effect, with batches of two on
# three GPUs:
#   torchrun --nproc_per_node 3 tools/train.py configs/invpt/invpt_vitl_nyud.py --launcher pytorch
# For the authors' checkpoint: python tools/model_converters/invpt.py SRC DST, then python
# tools/test.py THIS DST.
_base_ = './invpt_vits_nyud.py'

model = dict(
    # Four patches: the frames of 425x560 of the authors' data are padded to 448x576, as they do it.
    data_preprocessor=dict(size_divisor=64),
    # Where timm is installed, Python writes the weights:
    #   vit = timm.create_model('vit_large_patch16_384', pretrained=True)
    #   torch.save(vit.state_dict(), 'vit_large_patch16_384.pth')
    freeze_backbone=False,
    backbone=dict(
        _delete_=True,
        type='ViT',
        arch='large',
        img_size=(448, 576),
        init_cfg=dict(type='Pretrained', checkpoint='vit_large_patch16_384.pth'),
    ),
    decoder=dict(channels=512),
)

train_dataloader = dict(batch_size=2)
sync_bn = 'torch'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=2e-5, weight_decay=1e-6), clip_grad=None
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=40000)]
auto_scale_lr = dict(base_batch_size=6)

# M2H-small as the authors' code builds it, 96 channels wide; their published figure of 33.7 M
# parameters is for model.neck.out_channels=256 model.decoder.channels=256.
_base_ = './m2h_small_vits_nyud.py'

# See m2h_vits_nyud_official.py.
tasks = dict(semseg=dict(unknown_channel=True))
model = dict(
    data_preprocessor=dict(mean=(122.4765, 122.4, 120.4365), std=(66.147, 65.6115, 67.3455)),
    backbone=dict(init_cfg=None),
    neck=dict(out_channels=96),
    decoder=dict(channels=96),
)

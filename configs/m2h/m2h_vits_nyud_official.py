# For the authors' checkpoints: convert, then test.
#   python tools/model_converters/m2h.py SRC DST --config THIS
#   python tools/test.py THIS DST
_base_ = './m2h_vits_nyud.py'

# Their 41 segmentation outputs begin with "unknown". Their normalisation is mean (.4803, .4800,
# .4723) and deviation (.2594, .2573, .2641) of RGB in 0..1.
tasks = dict(semseg=dict(unknown_channel=True))
model = dict(
    data_preprocessor=dict(mean=(122.4765, 122.4, 120.4365), std=(66.147, 65.6115, 67.3455)),
    backbone=dict(init_cfg=None),
)

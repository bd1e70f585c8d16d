# GGFM for segmentation alone.
model = dict(decoder=dict(merger=dict(tasks=('semseg',))))

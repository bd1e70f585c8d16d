# The backbone's weights stay as they are; low-rank adapters of its queries, keys and values are
# trained.
model = dict(freeze_backbone=False, adapters=dict(type='LoRA', rank=16, alpha=32))

# As backbone_lora, with adapters for each task in the last four blocks. The blocks before run once,
# these once for each task.
model = dict(
    freeze_backbone=False,
    adapters=dict(type='LoRA', rank=16, alpha=32, last_units=4, per_task=True),
)

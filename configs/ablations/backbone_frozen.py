# The backbone's weights stay as they are, in a config that trains them.
model = dict(freeze_backbone=True)

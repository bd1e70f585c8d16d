# Cross-stitch units.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='CrossStitch')))

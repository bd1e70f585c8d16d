# BridgeNet's exchange: one bridge made from all tasks, which each task reads.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='BridgeFeatures')))

# Multi-modal distillation, the exchange of PAD-Net and MTI-Net.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='MultiModalDistillation')))

# ATRC's exchange: for each pair of tasks, the context that helps is learned. Its preferences are
# few numbers, which move slowly at the rate of other weights.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='SparseAttention')))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'interaction.preference': dict(lr_mult=10, decay_mult=0.0)})
)

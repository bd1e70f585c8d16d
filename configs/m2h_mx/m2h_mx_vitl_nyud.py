_base_ = [
    '../_base_/models/m2h_mx.py',
    '../_base_/datasets/nyud.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

# What is to stay near its first value: the scan's decays, and the logarithms of the uncertainties.
no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'A_log': no_decay, 'mamba.D': no_decay, 'weighting': no_decay}),
)

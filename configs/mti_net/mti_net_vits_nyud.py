_base_ = [
    '../_base_/models/mti_net.py',
    '../_base_/datasets/nyud.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

_base_ = [
    '../_base_/models/m2h.py',
    '../_base_/datasets/nyud.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

# Whole methods behind one backbone, each with its own heads, losses and weights. Rooms, from scratch, on two CPU cores: 18
# trainings.
variants = dict(
    m2h='configs/m2h/m2h_tiny_rooms.py',
    mti_net='configs/mti_net/mti_net_tiny_rooms.py',
    pad_net='configs/pad_net/pad_net_tiny_rooms.py',
    invpt='configs/invpt/invpt_tiny_rooms.py',
    shared='configs/baselines/mtl_tiny_rooms.py')
single_task = 'm2h'
seeds = [0, 1]

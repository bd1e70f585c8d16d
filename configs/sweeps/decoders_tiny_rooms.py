# Whole methods behind one backbone, each with its own heads, losses and weights. Rooms, from
# scratch, on two CPU cores: 20 trainings.
variants = dict(
    m2h='m2h_tiny_rooms',
    m2h_mx='m2h_mx_tiny_rooms',
    mti_net='mti_net_tiny_rooms',
    pad_net='pad_net_tiny_rooms',
    invpt='invpt_tiny_rooms',
    shared='mtl_tiny_rooms',
)
single_task = 'm2h'
seeds = [0, 1]

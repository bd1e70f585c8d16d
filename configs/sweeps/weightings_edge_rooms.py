# Weighting x exchange on pretrained features: M2H-edge on rooms of 128x160, with the data, schedule
# and choice of the learning rate of edge_rooms.py. 18 variants: 54 trainings to choose the learning
# rates, 54 more for the other seeds.
_base_ = './edge_rooms.py'

# Without losses between tasks, which no weighting weighs.
_equal = {'model.consistency': []}
_exchanges = dict(
    none={'model.decoder.interaction': dict(_delete_=True, type='NoInteraction')},
    wmca_new={
        'model.decoder.interaction': dict(
            residual=True, pre_norm=True, position_bias=True, shift_size=3, mask_padding=True
        )
    },
)
# The first is what the others have to beat; the second, what has learned nothing.
_weightings = (
    'fixed',
    'random',
    'uncertainty',
    'famo',
    'fairgrad',
    'cagrad',
    'upgrad',
    'imtl',
    'db_mtl',
)
variants = {
    f'{exchange}_{weighting}': [change, f'weighting_{weighting}', _equal]
    for exchange, change in _exchanges.items()
    for weighting in _weightings
}
single_task = 'none_fixed'

# From M2H to M2H-fast, one change after the other, and M2H-small: an eighth of their channels
# behind the tiny backbone. Rooms, from scratch: 22 trainings.
base = 'm2h_tiny_rooms'


def heads(**arguments):
    return dict.fromkeys(('semseg', 'depth', 'normals', 'edge'), arguments)


def width(channels, *hidden_channels):
    return dict(
        model=dict(
            neck=dict(out_channels=channels),
            decoder=dict(channels=channels),
            heads=heads(hidden_channels=hidden_channels),
        )
    )


def decoder(**arguments):
    return dict(model=dict(decoder=arguments))


def one_after_the_other(**changes):
    done = []
    for name, change in changes.items():
        done = [*done, *change]
        yield name, done


variants = dict(
    one_after_the_other(
        # Attention at the maps' own resolution, unlike the base's.
        m2h=[width(32, 16, 8), decoder(interaction=dict(num_heads=4, pooling=1))],
        coarser_maps=[decoder(upsample_last=False), width(32, 16)],
        one_fusion=[decoder(shared_fusion=True)],
        attention_at_half=[decoder(interaction=dict(pooling=2))],
        merged_for_all=['ggfm_all'],
        m2h_fast=[width(16, 8)],
    ),
    m2h_small=[
        width(32, 16, 8),
        decoder(
            separable=True,
            interaction=dict(num_heads=4, pooling=2, reduction=4),
            merger=dict(separable=True),
        ),
        dict(model=dict(neck=dict(separable=True), heads=heads(separable=True))),
    ],
)
single_task = 'm2h'
seeds = [0, 1]
max_iters = 1200

# Attention to all pixels of all tasks, with as many heads and layers as M2H's windows; 1344 keys
# for an image of 448x576 pixels. Small images need less pooling.
model = dict(
    decoder=dict(
        interaction=dict(
            _delete_=True, type='GlobalCrossTaskAttention', num_heads=4, num_layers=2, pooling=16
        )
    )
)

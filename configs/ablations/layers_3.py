# Three layers of WMCA.
model = dict(decoder=dict(interaction=dict(num_layers=3)))

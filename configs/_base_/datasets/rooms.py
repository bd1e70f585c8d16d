# Procedural rooms: rendered on first use into data_root, then read like NYUD-v2.
_base_ = './nyud.py'

# The frames have one size, that of the data set below: anything else is brought to it.
data_preprocessor = dict(size=(240, 320), keep_within=1.0)

rooms = dict(type='RoomsDataset', data_root='data/rooms')
train_dataloader = dict(dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)

# Procedural rooms: rendered on first use into data_root, then read like NYUD-v2.
_base_ = './nyud.py'

rooms = dict(type='RoomsDataset', data_root='data/rooms')
train_dataloader = dict(dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)

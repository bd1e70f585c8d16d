# The control: no exchange between tasks.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))

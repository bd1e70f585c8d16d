# No layer of WMCA is no exchange between tasks.
_base_ = './interaction_none_tiny_rooms.py'

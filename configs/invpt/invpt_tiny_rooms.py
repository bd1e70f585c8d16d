# InvPT from scratch, with the data and schedule of configs/m2h/m2h_tiny_rooms.py.
_base_ = ['../_base_/models/invpt_tiny.py', '../_base_/rooms_tiny.py']

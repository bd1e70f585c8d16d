# MTI-Net with a pretrained backbone on procedural rooms at 240x320.
_base_ = ['../_base_/models/mti_net.py', '../_base_/rooms_pretrained.py']

# InvPT with a pretrained backbone on procedural rooms at 240x320.
_base_ = ['../_base_/models/invpt.py', '../_base_/rooms_pretrained.py']

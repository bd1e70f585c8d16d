# No layer of WMCA is no exchange between tasks.
_base_ = './interaction_none_vits_nyud.py'

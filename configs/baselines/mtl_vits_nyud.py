# The plain multi-task baseline, one map for all heads, with backbone, data, losses and schedule of
# configs/mti_net/mti_net_vits_nyud.py.
_base_ = '../mti_net/mti_net_vits_nyud.py'

model = dict(decoder=dict(_delete_=True, type='SharedDecoder'))

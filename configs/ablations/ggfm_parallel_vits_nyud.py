# The paper's arrangement: beside WMCA, for all tasks, see GGFM.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(decoder=dict(merger=dict(tasks=('semseg', 'depth', 'normals', 'edge'), parallel=True)))

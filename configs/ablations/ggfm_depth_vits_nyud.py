_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(decoder=dict(merger=dict(tasks=('depth',))))

# No losses between tasks.
model = dict(consistency=[])

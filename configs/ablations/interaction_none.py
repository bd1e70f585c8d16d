# The control: no exchange between tasks.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))

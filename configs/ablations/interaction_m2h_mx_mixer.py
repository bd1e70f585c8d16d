# M2H-MX's cross-task mixer, which M2H-MX has in its heads.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='M2HMXMixer')))

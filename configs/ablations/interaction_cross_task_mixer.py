# A mixer over the tasks' channels at each pixel.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='CrossTaskMixer')))

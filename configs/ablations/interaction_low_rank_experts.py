# Convolutions that all tasks share, mixed for each task and image (MLoRE).
model = dict(decoder=dict(interaction=dict(_delete_=True, type='LowRankExperts')))

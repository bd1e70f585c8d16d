# A large trained backbone is shared out among the processes. Started by tools/dist_train.sh only;
# docs/training.md says what else changes.
runner_type = 'ShardedRunner'
strategy = dict(type='ShardedStrategy')

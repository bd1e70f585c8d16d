# Share a large backbone out among the processes; beside another base: _base_ = ['./parent.py', '../_base_/fsdp.py'].
# Started by tools/dist_train.sh only. docs/training.md says what else changes.
runner_type = 'ShardedRunner'
strategy = dict(type='ShardedStrategy')

# M2H on PASCAL-Context: segmentation, human parts, saliency, normals and edges.
_base_ = [
    '../_base_/models/m2h.py',
    '../_base_/datasets/pascal_context.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

# Saliency as edges have it, under a sigmoid: the softmax of two channels is the sigmoid of their
# difference.
tasks = dict(saliency=dict(channels=1))
model = dict(
    decoder=dict(merger=dict(tasks=('semseg', 'human_parts'))),
    heads=dict(
        _delete_=True,
        semseg=dict(type='M2HSemsegHead'),
        human_parts=dict(type='M2HSemsegHead'),
        saliency=dict(type='M2HEdgeHead'),
        normals=dict(type='M2HNormalsHead'),
        edge=dict(type='M2HEdgeHead'),
    ),
    losses=dict(
        _delete_=True,
        semseg=dict(type='CrossEntropyLoss'),
        human_parts=dict(type='CrossEntropyLoss'),
        saliency=dict(type='BalancedBCELoss', pos_weight=None),
        normals=dict(type='CosineLoss'),
        edge=dict(type='BalancedBCELoss', pos_weight=0.95),
    ),
    # Neither depth nor cameras are known, and the edges are those of 459 classes, not of the 21.
    consistency=[],
    # Human parts and saliency weigh what they do in the multi-task literature. 624 iterations are
    # one epoch.
    weighting=dict(
        interval=624,
        base_weights=dict(
            _delete_=True, semseg=1.0, human_parts=2.0, saliency=5.0, normals=4.0, edge=10.0
        ),
    ),
)

"""A DINOv3's parameters as its authors write them, from those that Hugging Face writes."""

import torch
from torch import Tensor

PARTS = {
    'embeddings.patch_embeddings': 'patch_embed.proj',
    'embeddings.register_tokens': 'storage_tokens',
    'embeddings.': '',
    'layer.': 'blocks.',
    'attention.o_proj': 'attn.proj',
    'attention.': 'attn.',
    'layer_scale1.lambda1': 'ls1.gamma',
    'layer_scale2.lambda1': 'ls2.gamma',
}
PLAIN = {'up_proj': 'fc1', 'down_proj': 'fc2'}
GATED = {'gate_proj': 'w1', 'up_proj': 'w2', 'down_proj': 'w3'}


def as_the_authors(state: dict[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    """Keys get a bias that the mask takes away, periods are stored, queries, keys and values are
    one layer.
    """
    gated = any('gate_proj' in name for name in state)
    renamed = {}
    for name, value in state.items():
        for theirs, authors in {**PARTS, **(GATED if gated else PLAIN)}.items():
            name = name.replace(theirs, authors)
        renamed[name] = value
    for name in [name for name in renamed if name.endswith('.attn.q_proj.weight')]:
        layer = name.removesuffix('q_proj.weight')
        weights = [renamed.pop(f'{layer}{part}_proj.weight') for part in 'qkv']
        renamed[f'{layer}qkv.weight'] = torch.cat(weights)
        if f'{layer}q_proj.bias' in renamed:
            query, value = (renamed.pop(f'{layer}{part}_proj.bias') for part in 'qv')
            one, zero = torch.ones_like(query), torch.zeros_like(query)
            renamed[f'{layer}qkv.bias'] = torch.cat([query, one, value])
            renamed[f'{layer}qkv.bias_mask'] = torch.cat([one, zero, one])
    quarter = state['norm.weight'].shape[0] // num_heads // 4
    renamed['mask_token'] = renamed['mask_token'][0]
    renamed['rope_embed.periods'] = 100.0 ** (torch.arange(quarter) / quarter)
    return renamed

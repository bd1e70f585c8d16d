"""TaskPrompter (ICLR 2023): backbone with task prompts, head and official checkpoints. Its decoder
is ``TaskMapsDecoder``.
"""

from .backbone import TaskPrompterViT
from .head import TaskPrompterHead

__all__ = ['TaskPrompterHead', 'TaskPrompterViT']

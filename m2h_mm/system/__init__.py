"""What is asked of the operating system: files, the environment, processes.

Imports nothing of the package.
"""

from .environment import available_cores, environment
from .files import remove_temporaries, write_atomically

__all__ = ['available_cores', 'environment', 'remove_temporaries', 'write_atomically']

"""Models in a folder or on Hugging Face's hub: weights, with a card that says what they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from m2h_mm.engine.model_description import ModelDescription
from m2h_mm.engine.training_facts import read_training
from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.safetensors_file import is_safetensors
from m2h_mm.system import write_atomically
from m2h_mm.system.outputs import require_free

from .model_card import model_card
from .publishing import publish, read_published

FILES = WEIGHTS, CARD = 'model.safetensors', 'README.md'
_NAME = re.compile(r'[\w.-]+/[\w.-]+')


class HubModel:
    """What makes an inferencer one that can be fetched and shared.

    Attributes:
        model: with the weights.
        description: of it.
        source: the file that it was loaded from.
    """

    model: nn.Module
    description: ModelDescription
    source: Path

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None, **settings: Any):
        """A model of a folder or of the hub. Nothing in it is run.

        Args:
            source: a folder with ``model.safetensors``, or ``'user/name'`` on the hub, if there is
                no such folder.
            revision: a branch, tag or commit on the hub. Default: its main branch.
            **settings: of the inferencer: ``device``, ``options``, ...

        Raises:
            ImportError: of the hub, without ``m2h_mm[hub]``.
            FileNotFoundError, ValueError: there is no such model, or its file is damaged, see
                :func:`~m2h_mm.inference.loading.load_model`.
            ConnectionError: the hub cannot be reached, or refuses.
        """
        return cls(fetch(source, revision), **settings)

    def save_pretrained(
        self, folder: str | Path, half: bool = False, overwrite: bool = False, **facts: Any
    ) -> None:
        """Write ``model.safetensors`` and a card, ``README.md``, into a folder.

        Args:
            folder: it is made.
            half: store the weights in float16, see :func:`~m2h_mm.inference.publishing.publish`.
            overwrite: replace such files that are there.
            **facts: what is said of the model, see
                :data:`~m2h_mm.inference.publishing.PUBLISHED_KEY`, in place of what its file says.

        Raises:
            FileExistsError: a file is there, and ``overwrite`` is False.
        """
        known = {**known_facts(self.source), **facts}
        require_free([Path(folder, name) for name in FILES], [self.source], overwrite)
        write_folder(folder, self.model, self.description, known, half, str(folder))

    def push_to_hub(
        self,
        repo: str,
        half: bool = False,
        private: bool | None = None,
        token: str | None = None,
        **facts: Any,
    ) -> str:
        """Upload the weights and a card to the hub.

        Args:
            repo: ``'user/name'``; it is made if it is not there.
            half: store the weights in float16.
            private: whether a new one is seen by its owner alone. Default: as the hub has it.
            token: for writing. Default: of ``hf auth login``.
            **facts: as of :meth:`save_pretrained`.

        Returns:
            Its address.

        Raises:
            ImportError: without ``m2h_mm[hub]``.
            ConnectionError: the hub cannot be reached, or refuses.
        """
        known = {**known_facts(self.source), **facts}
        return push(repo, self.model, self.description, known, half, private, token)


def known_facts(path: str | Path) -> dict[str, Any]:
    """What a published file or a checkpoint says of itself."""
    if is_safetensors(path):
        return read_published(path)
    content = read_checkpoint(path, mmap=True)
    return read_training(content) if isinstance(content, Mapping) else {}


def write_folder(
    folder: str | Path,
    model: nn.Module,
    description: ModelDescription,
    facts: Mapping[str, Any],
    half: bool,
    source: str,
) -> None:
    """Write weights and card; ``source`` is from where the model can be had, for the card."""
    facts = dict(dict(name=Path(source).name), **facts)
    publish(Path(folder, WEIGHTS), model, description, facts, half)
    # As the file says it, which is what is believed of it.
    facts = read_published(Path(folder, WEIGHTS))
    storage = 'float16' if half else 'float32'
    write_atomically(Path(folder, CARD), model_card(description, facts, source, storage))


def fetch(source: str | Path, revision: str | None = None) -> Path:
    """The file of weights in a folder, or of the hub, see :meth:`HubModel.from_pretrained`."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        path = folder / WEIGHTS
        if not path.is_file():
            raise FileNotFoundError(
                f'{folder} has no {WEIGHTS}. M2HInferencer({str(folder / "FILE")!r}) loads a file '
                'of another name.'
            )
        return path
    if not isinstance(source, str) or not _NAME.fullmatch(source):
        raise FileNotFoundError(
            f"There is no folder {source}, and it is no 'user/name' of the hub."
        )
    library = _library()
    with _naming_errors(library, source):
        return Path(library.HfApi().hf_hub_download(source, WEIGHTS, revision=revision))


def push(
    repo: str,
    model: nn.Module,
    description: ModelDescription,
    facts: Mapping[str, Any],
    half: bool = False,
    private: bool | None = None,
    token: str | None = None,
) -> str:
    """Upload a model to the hub, see :meth:`HubModel.push_to_hub`."""
    if not _NAME.fullmatch(repo):
        raise ValueError(f"Expected 'user/name', of a model on the hub, got {repo!r}.")
    library = _library()
    with tempfile.TemporaryDirectory(prefix='m2h_mm-') as folder:
        write_folder(folder, model, description, facts, half, repo)
        with _naming_errors(library, repo):
            hub = library.HfApi(token=token)
            address = hub.create_repo(repo, private=private, exist_ok=True)
            hub.upload_folder(
                repo_id=repo, folder_path=folder, commit_message='Weights and card of m2h_mm'
            )
    return str(address)


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f'Models of the hub need huggingface_hub ({error}): pip install m2h_mm[hub]. A folder '
            'needs nothing.'
        ) from error
    return huggingface_hub


@contextmanager
def _naming_errors(library: ModuleType, name: str) -> Iterator[None]:
    """Within it, what the hub refuses is one error that names the model."""
    try:
        yield
    except Exception as error:  # of the library's kinds, and of those that it is built on
        reason = ' '.join(str(error).split())[:300]
        raise ConnectionError(
            f'{name}: the hub ({library.constants.ENDPOINT}) does not give or take it ({reason}). '
            'Is the name right, and is there a connection? What is private, and writing, needs hf '
            'auth login.'
        ) from error

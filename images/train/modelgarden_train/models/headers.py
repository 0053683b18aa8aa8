"""The shapes of a base model's tensors, from the headers of its safetensors: kilobytes, the weights stay where they are."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import ObjectNotFound
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import local_path
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import in_parallel, is_local, open_folder
from modelgarden_train.hub.asking import Found, ask_hub
from modelgarden_train.models.base_model import BaseModel
from modelgarden_train.models.files import weight_names
from modelgarden_train.models.hub import model_repository

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

Shapes = Mapping[str, tuple[int, ...]]
"""By the tensor's name."""

_LENGTH: Final = struct.Struct("<Q")
"""What a file begins with: the bytes of the header that follows."""
_MOST_HEADER_BYTES: Final = 25_000_000
"""As the hub's client takes (SAFETENSORS_MAX_HEADER_LENGTH of huggingface_hub); that of a 70 B model has 0.1 MB."""


class DamagedHeader(Exception):  # noqa: N818 -- says what is so
    """A file is no safetensors."""


def tensor_shapes(config: RunConfig, model: BaseModel, *, patience: Patience) -> Shapes | None:
    """Return the shapes of a base model's tensors, None where it has no headers that can be read.

    What is wrong with them is told by the training, which loads them.

    Raises:
        UserError: AccessDenied, ModelInvalid or ModelNotFound.
        TemporaryError: the model's source does not answer.
    """
    try:
        shapes = (
            _of_hub(model, patience)
            if model.source.startswith("hf://")
            else _of_folder(config, model, patience)
        )
    except (DamagedHeader, ObjectNotFound) as error:
        logger.warning("The base model's headers cannot be read", extra={"error": str(error)})
        return None
    return shapes or None


def _of_folder(config: RunConfig, model: BaseModel, patience: Patience) -> Shapes:
    source = local_path(model.source).as_uri() if is_local(model.source) else model.source
    folder = open_folder(source, config.storage, patience=patience)
    files = {file.name: file.bytes for file in folder.list()}
    names = weight_names(files, model.path)
    return _joined(in_parallel(partial(read_header, folder, name, files.get(name, 0)) for name in names))


def _of_hub(model: BaseModel, patience: Patience) -> Shapes:
    def ask(api: HfApi, found: Found) -> Shapes:
        from huggingface_hub.errors import SafetensorsParsingError

        def shapes(name: str) -> Shapes:
            told = api.parse_safetensors_file_metadata(repository.name, name, revision=found.commit)
            return {tensor: tuple(info.shape) for tensor, info in told.tensors.items()}

        try:
            return _joined(
                in_parallel(partial(shapes, name) for name in weight_names(found.names, model.path))
            )
        except SafetensorsParsingError as error:
            raise DamagedHeader(str(error)) from error

    repository = model_repository(model.source, model.revision)
    return ask_hub(repository, ask, token="HF_TOKEN", patience=patience)  # noqa: S106 -- a variable's name


def read_header(folder: Folder, name: str, size: int) -> Shapes:
    """Return the shapes of the tensors in a file of so many bytes.

    Raises:
        DamagedHeader: it is no safetensors, or not there.
    """
    if size <= _LENGTH.size:
        raise DamagedHeader(f"{name} is too short or not there")
    (length,) = _LENGTH.unpack(folder.read_range(name, start=0, length=_LENGTH.size))
    if not 2 <= length <= min(_MOST_HEADER_BYTES, size - _LENGTH.size):
        raise DamagedHeader(f"{name} does not begin as safetensors do")
    content = folder.read_range(name, start=_LENGTH.size, length=length)
    try:
        header = json.loads(content)
        return {tensor: _shape(told) for tensor, told in header.items() if tensor != "__metadata__"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedHeader(f"the header of {name} cannot be read: {error}") from error


def _shape(told: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tuple(told["shape"])
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("a shape has something else than whole numbers")
    return shape


def _joined(parts: list[Shapes]) -> Shapes:
    return {name: shape for part in parts for name, shape in part.items()}

"""The tensors of a model's folder, read one at a time: a model of any size passes through the memory of its largest."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from modelgarden_pod.errors import UserError
from modelgarden_train.models.files import weight_files


class Weights:
    """The files stay mapped as long as this is held."""

    def __init__(self, folder: Path) -> None:
        """Open the files that Transformers would load.

        Raises:
            UserError: ModelInvalid, a file is damaged or missing.
        """
        from safetensors import SafetensorError, safe_open

        self._files: dict[str, Any] = {}
        for path in weight_files(folder):
            try:
                file = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise UserError(
                    "ModelInvalid", f"{path.name} of the base model is no whole safetensors file: {error}"
                ) from error
            self._files |= dict.fromkeys(file.keys(), file)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of the files."""
        return iter(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, from the header."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str) -> Any:
        """Return a tensor, on the CPU."""
        return self._files[name].get_tensor(name)


def tensor_of(module: str, tensors: Collection[str]) -> str | None:
    """Return the tensor that holds a module's weight: of its whole name, else the only one whose name ends alike.

    The classes around a model may add to the names of its files (`model.`), or lack what those have (`language_model.`).
    """
    whole = f"{module}.weight"
    if whole in tensors:
        return whole
    parts = whole.split(".")
    # What names a layer begins one word before its number.
    number = next((place for place, part in enumerate(parts) if part.isdigit()), 1)
    for start in range(1, max(1, number)):
        ending = ".".join(parts[start:])
        if found := [name for name in tensors if f".{name}".endswith(f".{ending}")]:
            return found[0] if len(found) == 1 else None
    return None

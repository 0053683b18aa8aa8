"""llama.cpp's converter of Hugging Face folders, in the process that has it. Tensors pass through memory one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from modelgarden_pod.errors import UserError
from modelgarden_train.artifact.gguf.engine import vocabulary_loads
from modelgarden_train.artifact.gguf.requests import CheckBase, Convert
from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.models.loading import load_tokenizer

_OF_BASE: Final = ("config.json", "generation_config.json", "tokenizer.model")
"""Read by the converter; the last is SentencePiece's own file, which Transformers does not write."""
_TOKENIZER: Final = "tokenizer.json"
_SETTINGS: Final = "tokenizer_config.json"


def stage(folder: Path, *, model: Path, base: Path) -> None:
    """Link the files of a model into a folder, and those of its base that the converter reads and it lacks."""
    folder.mkdir(parents=True)
    files = {name: base / name for name in _OF_BASE if (base / name).is_file()}
    files |= {path.name: path for path in model.iterdir() if path.is_file()}
    for name, path in files.items():
        (folder / name).symlink_to(path.resolve())
    if {_TOKENIZER, _SETTINGS} <= files.keys():
        _tell_added_tokens(folder)


def _tell_added_tokens(folder: Path) -> None:
    """Write the added tokens where Transformers 4 did and the converter looks for them; 5 has them in one file alone."""
    added = json.loads((folder / _TOKENIZER).read_text()).get("added_tokens", [])
    settings = json.loads((folder / _SETTINGS).read_text())
    told = {str(token.pop("id")): token for token in added}
    (folder / _SETTINGS).unlink()  # a link to what is exported
    (folder / _SETTINGS).write_text(json.dumps({"added_tokens_decoder": told} | settings))


def check_base(request: CheckBase) -> str | None:
    """Return why a base model cannot become a GGUF file, as far as its configuration and tokenizer tell."""
    saved, staged = request.scratch / "tokenizer", request.scratch / "staged"
    vocabulary = request.scratch / "vocabulary.gguf"
    try:
        tokenizer = load_tokenizer(request.model)
        complete_tokenizer(tokenizer, request.chat_template)
    except UserError:
        return None  # told by what reads the rows
    tokenizer.save_pretrained(saved)
    stage(staged, model=saved, base=request.model)
    try:
        _converter(staged, vocabulary, name="vocabulary", as_f16=True).write_vocab()
    except Exception as error:  # noqa: BLE001 -- each architecture's part of the converter raises its own
        return f"llama.cpp's converter does not know it: {str(error).rstrip('.!') or type(error).__name__}"
    return None if vocabulary_loads(vocabulary) else "llama.cpp cannot load its vocabulary"


def convert(request: Convert) -> None:
    """Write a model's folder as a GGUF file of 16-bit weights."""
    _converter(request.model, request.file, name=request.name, as_f16=request.as_f16).write()


def _converter(folder: Path, file: Path, *, name: str, as_f16: bool) -> Any:
    """Return what convert_hf_to_gguf.py makes of a folder."""
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    torch.set_grad_enabled(False)
    settings = ModelBase.load_hparams(folder, is_mistral_format=False)
    kind = get_model_class(get_model_architecture(settings, ModelType.TEXT))
    types = gguf.LlamaFileType
    return kind(folder, types.MOSTLY_F16 if as_f16 else types.GUESSED, file, model_name=name)

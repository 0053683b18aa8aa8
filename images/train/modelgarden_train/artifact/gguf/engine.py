"""llama.cpp's library, in the process that has it: quantises a file, loads it and scores rows. On CPUs alone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelgarden_train.artifact.gguf.requests import Answer, Quantize, RowToScore, Score

_CHUNK: Final = 128
"""Tokens that pass through the model at once; each has as many logits as the vocabulary has tokens."""


class EngineError(Exception):
    """llama.cpp says no, without saying why but in its log."""


def quantize(request: Quantize) -> None:
    """Write a file of 16-bit weights as a quantised one.

    Raises:
        EngineError: it cannot.
    """
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{request.quantization}")
    settings.nthread = request.threads
    source, file = str(request.source).encode(), str(request.file).encode()
    if llama_cpp.llama_model_quantize(source, file, ctypes.byref(settings)) != 0:
        raise EngineError(f"llama.cpp cannot quantise {request.source.name}")


def vocabulary_loads(file: Path) -> bool:
    """Tell whether the engine takes a file's vocabulary."""
    try:
        with _loaded(file, vocabulary_only=True):
            return True
    except EngineError:
        return False


def score(request: Score) -> Answer:
    """Load a file; return the losses of its rows, and how many have the same tokens.

    Raises:
        EngineError: it cannot be loaded, or a row cannot be scored.
    """
    longest = max((len(row.ids) for row in request.rows), default=1)
    with _loaded(request.file) as model, _context(model, longest, request.threads) as context:
        losses = tuple(tuple(_losses(model, context, row)) for row in request.rows)
        same = sum(_tokens(model, row.text) == row.text_ids for row in request.rows)
    return Answer(losses=losses, rows_of_same_tokens=same)


@contextmanager
def _loaded(file: Path, *, vocabulary_only: bool = False) -> Iterator[Any]:
    import llama_cpp

    settings = llama_cpp.llama_model_default_params()
    settings.n_gpu_layers = 0
    settings.vocab_only = vocabulary_only
    model = llama_cpp.llama_model_load_from_file(str(file).encode(), settings)
    if not model:
        raise EngineError(f"llama.cpp cannot load {file.name}")
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


@contextmanager
def _context(model: Any, tokens: int, threads: int) -> Iterator[Any]:
    import llama_cpp

    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = tokens
    settings.n_batch = settings.n_ubatch = _CHUNK
    settings.n_threads = settings.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise EngineError(f"llama.cpp has no room for {tokens} tokens")
    try:
        yield context
    finally:
        llama_cpp.llama_free(context)


def _losses(model: Any, context: Any, row: RowToScore) -> Iterator[float]:
    """Yield the negative log-likelihood of each token from the first one that is scored on."""
    import llama_cpp
    import numpy

    words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    inputs = row.ids[:-1]
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        _decode(context, chunk, start)
        for place in range(max(0, row.scored_from - 1 - start), len(chunk)):
            pointer = llama_cpp.llama_get_logits_ith(context, place)
            logits = numpy.ctypeslib.as_array(pointer, shape=(words,)).astype(numpy.float64)
            highest = logits.max()
            total = highest + numpy.log(numpy.exp(logits - highest).sum())
            yield float(total - logits[row.ids[start + place + 1]])


def _decode(context: Any, tokens: Sequence[int], start: int) -> None:
    import llama_cpp

    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, start + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = True
        if llama_cpp.llama_decode(context, batch) != 0:
            raise EngineError("llama.cpp cannot score a row")
    finally:
        llama_cpp.llama_batch_free(batch)


def _tokens(model: Any, text: str) -> tuple[int, ...]:
    """Return a text's tokens, special ones by their names and none added."""
    import llama_cpp

    content = text.encode()
    room = len(content) + 2
    tokens = (llama_cpp.llama_token * room)()
    vocabulary = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocabulary, content, len(content), tokens, room, False, True)
    return tuple(tokens[: max(0, count)])

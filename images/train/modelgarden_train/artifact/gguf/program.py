"""The process that has llama.cpp: `python -m modelgarden_train.artifact.gguf.program`, a request in, an answer out.

llama.cpp and its converter lie beside the trainer's libraries (images/gguf), in a folder that is searched last.
"""

from __future__ import annotations

import os
import site
import sys
from contextlib import redirect_stdout
from typing import Final

from modelgarden_pod.prctl import end_with_parent
from modelgarden_train.artifact.gguf.requests import REQUESTS, Answer, CheckBase, Convert, Quantize, Request

FOLDER_VARIABLE: Final = "MODELGARDEN_LLAMA_CPP"
"""Folder with the packages of images/gguf. Default: where the image has them."""
_OF_IMAGE: Final = "/opt/llama.cpp/lib/python3.11/site-packages"


def main() -> int:
    """Answer the request on standard input; a failure that is no answer ends with a traceback."""
    end_with_parent()
    request = REQUESTS.validate_json(sys.stdin.buffer.read())
    site.addsitedir(os.environ.get(FOLDER_VARIABLE, _OF_IMAGE))
    with redirect_stdout(sys.stderr):
        answer = _answer(request)
    sys.stdout.write(answer.model_dump_json())
    return 0


def _answer(request: Request) -> Answer:
    if isinstance(request, CheckBase):
        from modelgarden_train.artifact.gguf.conversion import check_base

        return Answer(refused=check_base(request))
    if isinstance(request, Convert):
        from modelgarden_train.artifact.gguf.conversion import convert

        convert(request)
        return Answer()
    from modelgarden_train.artifact.gguf.engine import quantize, score

    if isinstance(request, Quantize):
        quantize(request)
        return Answer()
    return score(request)


if __name__ == "__main__":
    sys.exit(main())

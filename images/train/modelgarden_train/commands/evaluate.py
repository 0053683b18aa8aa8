"""The command evaluate: score base and tuned model of a finished run again, without changing the run."""

from __future__ import annotations

import sys
from pathlib import Path

from modelgarden.api.artifact import Manifest
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import MANIFEST, MERGED_DIR
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.documents import read_document
from modelgarden_pod.errors import UserError
from modelgarden_pod.storage import download_entries, read_or_none
from modelgarden_train.attempt.reward_files import fetch_reward_files
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.data.prepared import fetch_prepared
from modelgarden_train.data.prepared_rows import read_split
from modelgarden_train.evaluation.scores import ModelResult, combine, evaluate_model
from modelgarden_train.evaluation.sight import sight_of
from modelgarden_train.models.base_model import fetch_base_model
from modelgarden_train.models.environment import go_offline
from modelgarden_train.models.loading import import_unsloth, load_model, load_tokenizer, release_memory
from modelgarden_train.objectives.group import answer_tokens
from modelgarden_train.rewards.scorer import judging


def evaluate(run: Run, *, output: Path | None) -> TerminationMessage:
    """Write the evaluation of the merged model as JSON to a file or to standard output.

    Raises:
        UserError: the run is not finished or has no 16-bit merge.
        TemporaryError: storage does not answer.
    """
    merged = _fetch_merged(run)
    dataset = fetch_prepared(run.folder, scratch=run.workspace)
    base = fetch_base_model(
        run.config,
        run.workspace / "model",
        weights=True,
        patience=run.patience,
        prepared_with=dataset.report,
    )
    go_offline()
    import_unsloth(run.config)
    rows = read_split(dataset.validation, load_tokenizer(base.path))[: run.config.evaluation.max_rows]
    sight = sight_of(run.config, dataset.images, base.path)

    def result(folder: Path) -> ModelResult:
        tokenizer = load_tokenizer(folder)
        complete_tokenizer(tokenizer)
        model = load_model(run.config, folder, four_bit=False)
        scored = evaluate_model(
            model,
            tokenizer,
            rows,
            max_new_tokens=answer_tokens(run.config),
            scorer=scorer,
            sight=sight,
        )
        del model
        release_memory()
        return scored

    with judging(run.config.objective, fetch_reward_files(run, dataset.report)) as scorer:
        evaluation = combine(rows, base=result(base.path), tuned=result(merged))
    text = evaluation.model_dump_json(by_alias=True, indent=2)
    if output is None:
        sys.stdout.write(f"{text}\n")
    else:
        output.write_text(text)
    scores = evaluation.scores
    return TerminationMessage(
        reason="Succeeded",
        message=f"held-out {scores.summary}",
        evaluation=scores,
    )


def _fetch_merged(run: Run) -> Path:
    body = read_or_none(run.folder, MANIFEST)
    if body is None:
        raise UserError("InvalidConfiguration", f"{run.folder.uri} has no manifest; run train first")
    manifest = read_document(Manifest, body, where=f"{run.folder.uri}/{MANIFEST}", reader=TRAIN_IMAGE)
    if "Merged16Bit" not in manifest.formats:
        raise UserError("FormatNotFound", "the run has no 16-bit merge; add Merged16Bit to output.formats")
    target = run.workspace / "artifact"
    merged = (entry for entry in manifest.files if entry.path.startswith(f"{MERGED_DIR}/"))
    download_entries(run.folder, merged, target)
    return target / MERGED_DIR

"""The worker's part of an attempt: load, score the base model, train, score again, export. All on this machine's disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelgarden.api.artifact import BaseEvaluation
from modelgarden.api.documents import TRAIN_IMAGE, DocumentError
from modelgarden_train.artifact.export import Export
from modelgarden_train.artifact.room import require_room
from modelgarden_train.attempt.messages import Begin, Done, Inputs, Made
from modelgarden_train.attempt.reporting import Reporter
from modelgarden_train.attempt.run import CHECKPOINTS
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.prepared_rows import read_split
from modelgarden_train.evaluation.scores import ModelResult, combine, evaluate_model, metrics_of
from modelgarden_train.evaluation.sight import Sight, sight_of
from modelgarden_train.models.adapters import with_adapters
from modelgarden_train.models.loading import load_model, load_tokenizer, release_memory
from modelgarden_train.models.vision import with_image_template
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.objectives.choice import trainer_of
from modelgarden_train.objectives.fitting import train_within_memory
from modelgarden_train.objectives.group import answer_tokens, sequences, widest
from modelgarden_train.objectives.memory import StepPlan, first_plan, model_does_not_fit
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.parallel.ranks import Ranks
from modelgarden_train.rewards.scorer import Scorer, judging

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Rows = Sequence[PreparedRow]

BASE_SCORES = "base-evaluation.json"
SCORES = "evaluation.json"


def tune(begin: Begin, inputs: Inputs, *, reporter: Reporter, stop: StopRequest, ranks: Ranks) -> Made | Done:
    """Make the artifact of a run, or help the first process to.

    Raises:
        UserError: the input is wrong; the reason says which.
        PodError: what was made is not what it should be, or another process has ended.
        Terminated: SIGTERM; during training the step that it met is saved.
    """
    from torch import OutOfMemoryError

    try:
        return Tuning(begin, inputs, reporter=reporter, stop=stop, ranks=ranks).make()
    except OutOfMemoryError as error:  # training meets it by itself first: the GPU cannot even hold the model
        raise model_does_not_fit(begin.config.method, error) from error


class Tuning:
    """The steps, in their order."""

    def __init__(
        self, begin: Begin, inputs: Inputs, *, reporter: Reporter, stop: StopRequest, ranks: Ranks
    ) -> None:
        self._ranks = ranks
        self._config = begin.config
        self._workspace = begin.workspace
        self._inputs = inputs
        self._reporter = reporter
        self._stop = stop
        self._base_scores = begin.workspace / BASE_SCORES
        self._scorer: Scorer | None = None
        self._sight: Sight | None = None
        self._scored: Any = None
        """The base model once it is scored; the training goes on with it, as loading takes as long as scoring."""

    def make(self) -> Made | Done:
        """Do all steps."""
        with judging(self._config.objective, self._inputs.rewards) as self._scorer:
            return self._make()

    def _make(self) -> Made | Done:
        require_room(self._config, base=self._inputs.model, target=self._workspace)
        tokenizer = load_tokenizer(self._inputs.model)
        if self._config.vision and not self._config.dataset.chat_template:
            with_image_template(tokenizer, self._inputs.model, source=self._config.model_source)
        complete_tokenizer(tokenizer, self._config.dataset.chat_template)
        self._sight = sight_of(self._config, self._inputs.images, self._inputs.model)
        target = self._workspace / "export"
        export = Export(
            self._config, base=self._inputs.model, target=target, tokenizer=tokenizer, sight=self._sight
        )
        held_out = read_split(self._inputs.validation, tokenizer)[: self._config.evaluation.max_rows]
        before = self._evaluate_base(tokenizer, held_out)

        self._reporter.stage("Training")
        model = self._train(tokenizer, export, held_out)
        self._reporter.stage("EvaluatingTuned")
        after = self._evaluate(model, tokenizer, held_out)
        if before is None:
            return Done()

        self._reporter.stage("Exporting")
        export.save_trained(model, held_out)
        del model
        release_memory()
        self._reporter.stage("Exporting")  # a sign of life: what follows may take as long as the merge
        formats = export.finish()
        scores = self._workspace / SCORES
        scores.write_text(combine(held_out, base=before, tuned=after).model_dump_json(by_alias=True))
        return Made(
            artifact=target,
            formats=formats,
            gguf=export.gguf,
            hyperparameters=self._reporter.hyperparameters,
            validation=self._reporter.validation,
            evaluation=scores,
        )

    def _evaluate_base(self, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> ModelResult | None:
        """Score the base model, or take the scores that came with the checkpoint; only the first process needs them."""
        known = self._known_base(rows) if self._ranks.first else None
        if self._ranks.any(known is not None, at="known base"):
            return known
        self._reporter.stage("EvaluatingBase")
        self._scored = self._load()
        result = self._evaluate(self._scored, tokenizer, rows)
        release_memory()
        if not self._ranks.first:
            return None
        document = BaseEvaluation(scores=dict(result.scores), answers=result.answers)
        self._base_scores.write_text(document.model_dump_json(by_alias=True))
        return result

    def _known_base(self, rows: Rows) -> ModelResult | None:
        if self._inputs.resume:
            kept = self._inputs.resume.path / BASE_SCORES
            if kept.exists():
                self._base_scores.write_text(kept.read_text())
        if not self._base_scores.exists():
            return None
        try:
            known = BaseEvaluation.read(self._base_scores.read_bytes(), reader=TRAIN_IMAGE)
        except DocumentError as error:
            logger.warning("The base model is evaluated again", extra={"error": str(error)})
            return None
        # A checkpoint of another version may lack a metric of this one.
        complete = known.scores.keys() >= metrics_of(rows, rewarded=self._scorer is not None).keys()
        return ModelResult(scores=known.scores, answers=known.answers) if complete else None

    def _train(self, tokenizer: PreTrainedTokenizerBase, export: Export, held_out: Rows) -> Any:
        """Train to the end and return the model; on SIGTERM leave with the step saved."""
        scope = Scope(
            config=self._config,
            tokenizer=tokenizer,
            rows=read_split(self._inputs.training, tokenizer),
            checkpoints=self._workspace / CHECKPOINTS,
            base_scores=self._base_scores,
            watcher=self._reporter,
            ranks=self._ranks,
            held_out=held_out if self._config.training.validation else (),
            scorer=self._scorer,
            sight=self._sight,
        )
        first = first_plan(
            effective_batch=self._config.training.effective_batch_size,
            sequences=sequences(self._config),
            longest_row=widest(self._config, self._inputs.longest_row),
            gpu=self._config.gpus > 0,
        )
        resume = self._inputs.resume
        with self._stop.deferred():
            model = train_within_memory(
                scope,
                trainer_of(self._config.objective.type),
                lambda plan: self._load_to_train(plan, export),
                plan=first,
                resume=Checkpoint(step=resume.step, path=resume.path) if resume else None,
            )
        self._stop.check()
        return model

    def _load(self, *, gradient_checkpointing: bool = False) -> Any:
        model = load_model(
            self._config,
            self._inputs.model,
            four_bit=self._config.method == "QLoRA",
            gradient_checkpointing=gradient_checkpointing,
        )
        # Whatever rows go through a model for, they go through its embeddings. A function, as models may be copied.
        model.get_input_embeddings().register_forward_hook(lambda *_: self._reporter.alive())
        return model

    def _load_to_train(self, plan: StepPlan, export: Export) -> Any:
        model, self._scored = self._scored, None
        if model is None:  # scored by an earlier attempt, or lost in a try that did not fit the memory
            self._reporter.stage("Loading")
            model = self._load(gradient_checkpointing=plan.gradient_checkpointing)
            self._reporter.stage("Training")
        model = with_adapters(self._config, model, gradient_checkpointing=plan.gradient_checkpointing)
        export.require_mergeable(model)
        return model

    def _evaluate(self, model: Any, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> ModelResult:
        return evaluate_model(
            model,
            tokenizer,
            rows,
            max_new_tokens=answer_tokens(self._config),
            ranks=self._ranks,
            scorer=self._scorer,
            sight=self._sight,
        )

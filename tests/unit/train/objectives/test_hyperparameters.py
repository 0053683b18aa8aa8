"""The hyperparameters that are reported are those that the trainer has, not those that it was asked for."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any, cast

from modelgarden.api.finetunejob import Dpo, LoraParameters, Objective, Training
from modelgarden_train.data.chat import PLAIN_TEMPLATE
from modelgarden_train.objectives.hyperparameters import hyperparameters
from modelgarden_train.objectives.labelled import Labelled
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.parallel.ranks import Ranks
from tests.unit.train.builders import make_config


class Choice(Enum):
    """An enumeration as Transformers has them."""

    COSINE = "cosine"
    FUSED = "adamw_torch_fused"
    EIGHT_BIT = "adamw_8bit"
    PAGED = "paged_adamw_8bit"


def make_arguments(**fields: Any) -> SimpleNamespace:
    given = {
        "learning_rate": 0.0002,
        "lr_scheduler_type": Choice.COSINE,
        "warmup_steps": 4,
        "weight_decay": 0.01,
        "optim": Choice.FUSED,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": True,
        "seed": 7,
        "neftune_noise_alpha": None,
    }
    return SimpleNamespace(**given | fields)


ADAPTER = SimpleNamespace(r=16, lora_alpha=32, lora_dropout=0.05, use_rslora=False, use_dora=False)
SIZES = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=131_072))
LORA = SimpleNamespace(peft_config={"default": ADAPTER}, config=SIZES)
PLAIN = SimpleNamespace(chat_template=PLAIN_TEMPLATE)


def used(
    *,
    model: Any = LORA,
    tokenizer: Any = PLAIN,
    template: str | None = None,
    why_padded: str | None = None,
    method: str | None = None,
    objective: Objective | None = None,
    training: Training | None = None,
    processes: int = 1,
    **fields: Any,
) -> dict[str, str]:
    config = make_config(
        method=method or ("LoRA" if model is LORA else "Full"),
        objective=objective or Objective(),
        training=training or Training(),
    )
    dataset = config.dataset.model_copy(update={"chat_template": template})
    scope = SimpleNamespace(
        config=config.model_copy(update={"dataset": dataset}),
        tokenizer=tokenizer,
        rows=range(640),
        ranks=Ranks(0, processes),
    )
    plan = StepPlan(effective_batch=16, budget=4096, longest_row=100)
    return hyperparameters(
        cast(Scope, scope),
        arguments=make_arguments(**fields),
        passes=Passes(plan, Labelled(why_padded, pad_token=0)),
        steps=120,
        model=model,
    )


def test_all_of_them_are_texts_under_the_names_of_the_api() -> None:
    assert used() == {
        "method": "LoRA",
        "objective": "SFT",
        "epochs": "3",
        "steps": "120",
        "learningRate": "0.0002",
        "learningRateSchedule": "Cosine",
        "warmupSteps": "4",
        "weightDecay": "0.01",
        "optimizer": "AdamW",
        "maxGradientNorm": "1.0",
        "effectiveBatchSize": "16",
        "batching": "padding-free",
        "tokensPerPass": "4096",
        "gradientCheckpointing": "true",
        "maxSequenceLength": "2048",
        "seed": "7",
        "chatTemplate": "plain",
        "loraRank": "16",
        "loraAlpha": "32",
        "loraDropout": "0.05",
        "loraTargets": "all-linear",
    }


def test_the_settings_of_the_objective_are_told_also_where_they_are_defaults() -> None:
    found = used(objective=Objective(type="DPO", dpo=Dpo(beta=0.3)))

    assert found["objective"] == "DPO"
    assert (found["beta"], found["lossType"], found["sftWeight"]) == ("0.3", "Sigmoid", "0.0")
    assert used(objective=Objective(type="DPO"))["beta"] == "0.1"


def test_what_a_library_changed_is_told_as_it_is() -> None:
    found = used(optim=Choice.PAGED, weight_decay=0.001, lr_scheduler_type="cosine_with_restarts")

    assert (found["optimizer"], found["weightDecay"], found["learningRateSchedule"]) == (
        "paged_adamw_8bit",
        "0.001",
        "cosine_with_restarts",
    )


def test_an_optimizer_of_8_bits_is_told_by_its_name_in_the_spec() -> None:
    assert used(optim=Choice.EIGHT_BIT)["optimizer"] == "AdamW8bit"
    assert used()["optimizer"] == "AdamW"


def test_a_row_is_told_to_be_no_longer_than_there_are_positions() -> None:
    few = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=1024))

    assert used()["maxSequenceLength"] == "2048"
    assert used(model=SimpleNamespace(config=few))["maxSequenceLength"] == "1024"


def test_noise_is_told_where_there_is_some() -> None:
    assert used(neftune_noise_alpha=5.0)["neftuneNoiseAlpha"] == "5.0"


def test_kinds_of_adapters_are_told_where_they_are_used() -> None:
    adapter = SimpleNamespace(r=16, lora_alpha=32, lora_dropout=0.05, use_rslora=True, use_dora=True)
    training = Training(lora=LoraParameters(target_modules=("q_proj", "v_proj")))

    model = SimpleNamespace(peft_config={"default": adapter}, config=SIZES)
    found = used(model=model, method="LoRA", training=training)

    assert (found["loraUseRslora"], found["loraUseDora"]) == ("true", "true")
    assert found["loraTargets"] == "q_proj, v_proj"
    assert not {"loraUseRslora", "loraUseDora"} & used().keys()


def test_padding_is_told_with_its_reason() -> None:
    assert (
        used(why_padded="the model takes more than text")["batching"]
        == "padded: the model takes more than text"
    )


def test_a_model_without_adapters_has_no_hyperparameters_of_any() -> None:
    found = used(model=SimpleNamespace(config=SIZES), tokenizer=SimpleNamespace(chat_template="its own"))

    assert not [name for name in found if name.startswith("lora")]
    assert (found["method"], found["chatTemplate"]) == ("Full", "model")


def test_a_template_that_the_dataset_gives_is_told_apart_from_the_models() -> None:
    given = SimpleNamespace(chat_template="given")

    assert used(tokenizer=given, template="given")["chatTemplate"] == "dataset"
    assert used(tokenizer=given)["chatTemplate"] == "model"


def test_several_processes_are_told_and_a_step_has_as_many_rows_as_with_one() -> None:
    several = used(processes=4)

    assert several == used() | {"processes": "4"}
    assert several["effectiveBatchSize"] == "16"

"""The Hugging Face hub, for models and datasets alike: how long it may be silent, and what a refusal means."""

"""What a completion is worth in a training by GRPO, judged in processes apart from what trains."""

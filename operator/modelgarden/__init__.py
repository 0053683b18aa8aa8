"""Model Garden: fine-tune and serve language models on Kubernetes."""

"""The export as GGUF: the merged model as one file for llama.cpp, made and tried by llama.cpp itself.

llama.cpp runs in processes of its own (`program.py`): it ends its process where it meets what it does not expect, and its
converter brings libraries that the trainer has no use for.
"""

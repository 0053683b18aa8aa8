"""What can go wrong with object storage, read by the operator and its pods in one way. Pure: no library is imported."""

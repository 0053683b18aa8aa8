"""What S3 answers and what that means, read by the operator and its pods in one way. Pure: no library is imported."""

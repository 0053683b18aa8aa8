"""What GCS answers and what that means, and the key it is asked with. Pure: no library is imported."""

"""What is optimized and how: one module for each objective, and what all of them share."""

"""What people are told of a prepared dataset: figures in the status, a document and a page in S3."""

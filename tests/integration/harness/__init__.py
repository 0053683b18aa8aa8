"""What the integration and scale tests share: a client, the operator as a process, a stand-in for the nodes, S3 content."""

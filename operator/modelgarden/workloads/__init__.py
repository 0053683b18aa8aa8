"""Jobs, pods and their specs: what both kinds make, and how it is read again."""

"""The one error of the local cluster: a sentence for the person at the terminal, with what to do."""


class ClusterError(Exception):
    """Something that the user or the machine has to mend; printed without a traceback."""

"""Energy and emissions: how the records of several pods become one."""

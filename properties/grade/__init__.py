"""A verdict for machines on a batch norm that a machine wrote."""

"""The sample market: the vendors' wire formats on loopback, answered from recorded prices."""

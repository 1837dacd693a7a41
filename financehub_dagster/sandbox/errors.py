"""What can stop the sandbox itself.

Belongs here: errors of starting or controlling the sandbox. Does not belong here: the errors it plays as a vendor.
"""


class SandboxError(Exception):
    """One line: what is wrong and what to do."""

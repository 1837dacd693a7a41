"""Text files that are never seen half-written: on a full disk, after a crash, by a reader at the same moment.

Belongs here: replacing one. Does not belong here: what is in them.
"""

import os
import threading
from pathlib import Path


def replace(path: Path, text: str, *, private: bool = False) -> None:
    """Make `text` the content of `path`, or raise OSError and change nothing; `private`: only its owner may read it.

    A file that has this content already is not touched; of a link, the file it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    data = text.encode()
    if path.is_file() and path.read_bytes() == data and not private:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""Where a form may lead: to a page of this host alone."""

import re
from urllib.parse import unquote

_LONGEST_PATH = 2048
_MOST_STAGES = 8
_UNSAFE = re.compile(r"\\|//")
_END_OF_PATH = re.compile(r"[?#]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def path_of_this_host(text: str) -> str | None:
    r"""`text` if a browser that is sent there stays on this host; None for anything that might leave it.

    Browsers take `//`, `/\` and backslashes for the start of a host and skip tabs and line breaks (WHATWG
    URL, "basic URL parser"); what lies between may decode once more than we do. So the path is looked at in
    every stage of decoding, and one that has more of them than anything decodes is refused.
    """
    if not text.startswith("/") or len(text) > _LONGEST_PATH:
        return None
    seen = text
    for _ in range(_MOST_STAGES):
        if _UNSAFE.search(_END_OF_PATH.split(seen, 1)[0]) or _CONTROL.search(seen):
            return None
        decoded = unquote(seen)
        if decoded == seen:
            return text
        seen = decoded
    return None

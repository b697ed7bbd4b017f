"""What blocks under ASGI, in a worker thread: pages are made and records stored by synchronous code."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_worker(call: Callable[..., Result], *args: object) -> Result:
    """Call in a worker thread of asyncio or of trio; at once where another event loop runs.

    There the loop waits for it, but it is done: a record that is not stored is a choice that does not hold.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # Who runs in trio has imported it.
        trio: Any = sys.modules.get("trio")
        return call(*args) if trio is None else await trio.to_thread.run_sync(call, *args)
    return await asyncio.to_thread(call, *args)

"""A choice becomes its record, and the site's own code is told of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .core.consent import Consent
from .errors import RecordStoreError
from .observe import Log
from .records.event import Act, ConsentEvent, State
from .records.snapshot import Snapshot
from .request import Target

if TYPE_CHECKING:
    from .records.store import RecordStore

ChoiceHook = Callable[[Consent | None, Consent, Target], object]
_TAKES_BACK = frozenset({State.REFUSED, State.WITHDRAWN})


class Change(NamedTuple):
    """A choice that is made on a request."""

    consent: Consent
    act: Act

    @property
    def adds(self) -> bool:
        """Whether it adds to what stands, and takes nothing back."""
        return self.act in {Act.GRANT, Act.ADD}


class Recorder:
    """Stores records, where records are kept, and calls `on_choice`."""

    def __init__(
        self, store: "RecordStore | None", snapshot: Snapshot, on_choice: ChoiceHook | None, log: Log
    ) -> None:
        self._store, self._snapshot, self._on_choice, self._log = store, snapshot, on_choice, log

    def record(self, event: ConsentEvent) -> None:
        """Store a record: it is durable when this returns.

        If the store fails, what takes something back holds all the same and its record goes to the log; a
        grant does not, and RecordStoreError says so.
        """
        if self._store is None:
            return
        try:
            self._store.save_snapshot(self._snapshot)
            self._store.append(event)
        except RecordStoreError as error:
            self._log.store_failure(error)
            if event.state not in _TAKES_BACK:
                raise
            self._log.unrecorded(self._store.log_line(event))

    def tell(self, before: Consent | None, after: Consent, target: Target) -> None:
        """Tell the site's own code of a choice that was recorded."""
        if self._on_choice is None:
            return
        try:
            self._on_choice(before, after, target)
        except Exception as error:  # noqa: BLE001 - whatever a site's function raises
            self._log.failure("on_choice failed: the choice holds all the same", error)

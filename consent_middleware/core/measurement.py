"""When exempt measurement of a visitor begins.

Its cookies live for a period that no visit prolongs, so the day on which it began has to be known. A choice
says it; where none was made, a cookie of ours does.
"""

from collections.abc import Iterable

from .compiled import CompiledRegistry
from .filtering import Judged
from .registry import CookieRule
from .verdict import Reason


def begins_with(
    compiled: CompiledRegistry,
    judged: Iterable[Judged],
    came: Iterable[CookieRule],
    told: frozenset[str],
) -> bool:
    """Whether measurement begins with an answer.

    It does with the first such cookie that leaves (`judged`), or that came with an unknown age (`came`) and
    is told to go (`told` names rules): a script will set it anew. What came and stays must not pass for new,
    so then it does not.
    """
    arrived = {rule.name for rule in came}
    new = {
        one.verdict.rule.name
        for one in judged
        if one.verdict.rule is not None
        and one.after is not None
        and one.reason is not Reason.DELETION
        and one.verdict.rule.purpose in compiled.by_objection
    }
    return bool(arrived or new) and arrived <= new | told

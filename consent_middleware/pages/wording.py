"""What is said to one visitor: the texts of the pages and of the registry in one language."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from ..appearance import Wordings
from ..core.periods import Period
from ..core.registry import Basis, CookieRule, LocalizedText, Registry
from .language import widened


@dataclass(frozen=True)
class Wording:
    """Texts in one language. Nothing here holds markup: all of it is escaped where it is shown."""

    wordings: Wordings
    language: str
    registry: Registry

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return self.wordings.direction

    @cached_property
    def site(self) -> str:
        """What the site is called."""
        site = self.registry.site
        return self.pick(site.name) or next(iter(site.hosts), "") or site.id

    def text(self, key: str, n: int | None = None, **values: object) -> str:
        """A text of the pages; `n` chooses among the forms of one that counts."""
        if n is not None:
            return self.wordings.counted(key, n)
        settings = self.wordings.texts["actions.settings"]
        return self.wordings.text(key, site=self.site, settings=settings, **values)

    def pick(self, text: LocalizedText) -> str:
        """A text of the registry."""
        return text.pick(*widened(self.language))

    def date(self, moment: date | datetime) -> str:
        """A day, as people write it. Moments are in UTC."""
        month = self.wordings.texts["dates.months"].split("|")[moment.month - 1]
        return self.wordings.text("dates.format", day=moment.day, month=month, year=moment.year)

    def period(self, period: Period) -> str:
        """A length of time."""
        count, unit = period.text.split(" ")
        return self.wordings.counted(f"periods.{unit.removesuffix('s')}", int(count))

    def lifetime(self, rule: CookieRule) -> str:
        """How long a cookie is kept: what the registry says, which is what is enforced."""
        if rule.lifetime is None:
            settings = self.registry.consent
            by_consent = self.registry.purposes[rule.purpose].basis is Basis.CONSENT
            cap = settings.lifetime if by_consent else settings.max_lifetime
            return self.wordings.text("periods.at_most", period=self.period(cap))
        return self.period(rule.lifetime) if isinstance(rule.lifetime, Period) else self.session

    @property
    def session(self) -> str:
        """How long a session cookie is kept."""
        return self.wordings.texts["periods.session"]

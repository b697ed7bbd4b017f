"""How texts and declarations become pages: templates, addresses, and what every template may use."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment
from markupsafe import Markup

from ..appearance import SCRIPT, STYLE, Appearance
from ..core.registry import Registry
from .wording import Wording

_SAFE = "/:@!$&'()*+,;=~"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


@lru_cache(64)
def _templates(appearance: Appearance) -> Environment:
    environment = appearance.templates()
    environment.filters["md"] = _markdown
    return environment


def _markdown(text: str) -> str:
    """A text as Markdown that says just this, HTML included."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


@lru_cache(64)
def mark(text: str) -> str:
    """What stands in the address of a static file, so that it may be kept for ever."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Presentation:
    """The pages of one registry in one language, below `mount`, which is percent-encoded.

    `asked_language` is set where the language was asked for and not negotiated: links keep it then.
    """

    registry: Registry
    appearance: Appearance
    wording: Wording
    mount: str = ""
    asked_language: str = ""
    records_kept: bool = False

    def url(self, page: str = "", **query: str) -> str:
        """The address of one of the pages, from the root of the host."""
        if self.asked_language and "." not in page:
            query = {"lang": self.asked_language, **query}
        path = self.mount + quote(f"{self.registry.consent.path}/{page}", safe=_SAFE)
        return path + (f"?{urlencode(query)}" if query else "")

    def static_url(self, name: str, text: str) -> str:
        """The address of a static file in its present state."""
        return self.url(name, v=mark(text))

    def render(self, template: str, **context: Any) -> Markup:
        """A template, with what all of them may use."""
        page = _templates(self.appearance).get_template(template)
        return Markup(  # noqa: S704 - the template has escaped every text
            page.render(
                **context,
                registry=self.registry,
                t=self.wording.text,
                url=self.url,
                style_url=self.static_url(STYLE, self.appearance.style),
                script_url=self.static_url(SCRIPT, self.appearance.script),
                site=self.wording.site,
                lang=self.wording.language,
                direction=self.wording.direction,
                asked_language=self.asked_language,
                records_kept=self.records_kept,
                continued=self.registry.consent.acceptance == "continued-browsing",
            )
        )

    def languages(self) -> list[tuple[str, str]]:
        """The other languages of the site, by what they call themselves."""
        speak = self.appearance.speak
        others = (tag for tag in self.registry.site.languages if tag != self.wording.language)
        return [(tag, speak(tag).name) for tag in others]

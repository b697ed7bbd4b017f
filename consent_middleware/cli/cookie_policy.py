"""`consent-middleware cookie-policy`: the cookie policy of a registry, for a site's own pages and papers."""

import click

from ..appearance import Appearance
from ..errors import ConfigurationError
from ..pages.cookie_policy import block, markdown
from ..pages.presentation import Presentation
from ..pages.wording import Wording
from ..registry_file.reading import examine


@click.command("cookie-policy")
@click.argument("registry", type=click.Path(dir_okay=False), default="cookies.toml")
@click.option("--language", help="One of the site's languages.  [default: the first]")
@click.option(
    "--format", "form", type=click.Choice(["markdown", "html"]), default="markdown", show_default=True
)
@click.option("--pages", type=click.Path(file_okay=False), help="The directory of the site's own pages.")
@click.option("--records/--no-records", default=False, help="Whether choices are recorded, to say so.")
def command(registry: str, language: str | None, form: str, pages: str | None, *, records: bool) -> None:
    """Print the cookie policy that follows from a REGISTRY file, as the page /consent/policy shows it."""
    reading = examine(registry)
    if reading.registry is None:
        raise click.ClickException("\n".join(map(str, reading.mistakes)))
    languages = reading.registry.site.languages
    if language is not None and language not in languages:
        raise click.ClickException(f"the site has no {language!r} but {', '.join(languages)}")
    try:
        appearance = Appearance.of(pages)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    tag = language or languages[0]
    presentation = Presentation(
        registry=reading.registry,
        appearance=appearance,
        wording=Wording(appearance.speak(tag), tag, reading.registry),
        asked_language=language or "",
        records_kept=records,
    )
    click.echo(markdown(presentation) if form == "markdown" else block(presentation), nl=False)

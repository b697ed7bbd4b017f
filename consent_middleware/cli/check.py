"""`consent-middleware check`: what is wrong with a registry file."""

from datetime import UTC, datetime

import click

from ..core.compiled import compile_registry
from ..core.consent import Consent
from ..core.registry import Registry
from ..core.token import LONGEST_WRITTEN, TokenSigner
from ..registry_file import examine

_TOO_LONG = (
    f"a visitor who refuses many vendors and cookies one by one may need more than {LONGEST_WRITTEN} octets: "
    "their purposes are refused as a whole then (declare fewer vendors and cookies, or give them shorter ids)"
)


@click.command("check")
@click.argument("registry", type=click.Path(dir_okay=False), default="cookies.toml")
@click.option("--strict", is_flag=True, help="Count warnings as mistakes.")
def command(registry: str, *, strict: bool) -> None:
    """Read a REGISTRY file as the middleware does at start, and say everything that is wrong with it.

    Ends with 1 if there are mistakes.
    """
    reading = examine(registry)
    for mistake in reading.mistakes:
        click.echo(f"{mistake}", err=True)
    for suspicion in reading.suspicions:
        click.echo(f"{suspicion} [warning]", err=True)
    found = reading.registry
    too_long = found is not None and _longest_choice(found) > LONGEST_WRITTEN
    if too_long:
        click.echo(f"{registry}: {_TOO_LONG} [warning]", err=True)
    if reading.mistakes or (strict and (reading.suspicions or too_long)):
        raise SystemExit(1)
    if found is not None:
        counts = f"{len(found.cookies)} cookies, {len(found.vendors)} vendors, {len(found.purposes)} purposes"
        click.echo(f"{registry}: {counts}")


def _longest_choice(registry: Registry) -> int:
    """The octets of the token that grants every purpose and refuses all under it one by one."""
    compiled, now = compile_registry(registry), datetime.now(UTC)
    choice = Consent(
        decided_at=now,
        version=registry.version,
        purposes=tuple(compiled.by_consent),
        refused_vendors=tuple(registry.vendors),
        refused_cookies=tuple(compiled.optional_cookies),
        id="x" * 22,
        measured_since=now if compiled.by_objection else None,
        gpc=True,
        dnt=True,
    )
    return len(TokenSigner(["any key"], registry.site.id).sign(choice))

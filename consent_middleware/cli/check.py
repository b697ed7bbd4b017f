"""`consent-middleware check`: prints the mistakes of a registry file."""

from datetime import UTC, datetime

import click

from ..core.compiled import compile_registry
from ..core.consent import Consent
from ..core.registry import Registry
from ..core.token import LONGEST_WRITTEN, TokenSigner
from ..registry_file.reading import examine

_TOO_LONG = (
    f"a visitor who refuses many vendors and cookies one by one may need more than {LONGEST_WRITTEN} octets: "
    "their purposes are refused as a whole then (declare fewer vendors and cookies, or give them shorter ids)"
)


@click.command("check")
@click.argument("registry", type=click.Path(dir_okay=False), default="cookies.toml")
@click.option("--strict", is_flag=True, help="Count warnings as mistakes.")
def command(registry: str, *, strict: bool) -> None:
    """Read a REGISTRY file as the middleware does at start, and print all mistakes and warnings.

    The exit status is 1 if there are mistakes.
    """
    reading = examine(registry)
    found = reading.registry
    warnings = list(map(str, reading.suspicions))
    if found and _longest_choice(found) > LONGEST_WRITTEN:
        warnings.append(f"{registry}: {_TOO_LONG}")
    for line in (*map(str, reading.mistakes), *(f"{warning} [warning]" for warning in warnings)):
        click.echo(line, err=True)
    if found is None or (strict and warnings):
        raise SystemExit(1)
    counts = f"{len(found.cookies)} cookies, {len(found.vendors)} vendors, {len(found.purposes)} purposes"
    click.echo(f"{registry}: {counts}")


def _longest_choice(registry: Registry) -> int:
    """Octets of the longest token: all purposes granted, all their vendors and cookies refused."""
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

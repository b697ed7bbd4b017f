"""`consent-middleware check`: what is wrong with a registry file."""

import click

from ..registry_file import examine


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
    if reading.mistakes or (strict and reading.suspicions):
        raise SystemExit(1)
    if reading.registry is not None:
        found = reading.registry
        counts = f"{len(found.cookies)} cookies, {len(found.vendors)} vendors, {len(found.purposes)} purposes"
        click.echo(f"{registry}: {counts}")

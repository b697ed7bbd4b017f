"""`consent-middleware keygen`: a secret key."""

import secrets

import click


@click.command("keygen")
def command() -> None:
    """Print a new random key for CONSENT_SECRET_KEYS; put it before the older ones to rotate."""
    click.echo(secrets.token_urlsafe(32))

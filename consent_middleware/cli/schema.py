"""`consent-middleware schema`: the JSON Schema of the registry file."""

import json

import click

from ..registry_file.schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the registry file, for editors that check TOML by one."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

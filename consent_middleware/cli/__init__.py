"""The command line. Each command is a module beside this one, imported when it is called."""

from importlib import import_module

import click

_COMMANDS = {
    "cookie-policy": "Print the cookie policy that follows from a registry file.",
    "check": "Say everything that is wrong with a registry file.",
    "keygen": "Print a new secret key.",
    "records": "Show, export, seal, verify and purge the records of consent.",
    "schema": "Print the JSON Schema of the registry file.",
}
_EXTRAS = {"sqlalchemy": "records"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - ditto
        if cmd_name not in _COMMANDS:
            return None
        try:
            module = import_module(f".{cmd_name.replace('-', '_')}", __package__)
        except ModuleNotFoundError as error:
            if error.name not in _EXTRAS:
                raise
            needed = f"pip install 'consent-middleware[{_EXTRAS[error.name]}]'"
            raise click.ClickException(f"{cmd_name} needs {error.name}: {needed}") from error
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table above: a list of commands must not need what each of them needs.
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name]) for name in self.list_commands(ctx)])


@click.command(cls=_Commands)
def main() -> None:
    """Cookie consent, enforced where the cookie is born."""

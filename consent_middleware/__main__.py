"""`python -m consent_middleware`."""

from .cli import main

main(prog_name="consent-middleware")

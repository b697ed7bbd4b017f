"""The preferences page."""

from werkzeug import Response

from .visit import Visit


def show(visit: Visit) -> Response:
    """The page as it is asked for."""
    return page(visit)


def page(visit: Visit, *, note: str = "", status: int = 200) -> Response:
    """The page, with a note on top."""
    del visit
    return Response(f"<!doctype html><title>Cookies</title>{note}", status, mimetype="text/html")

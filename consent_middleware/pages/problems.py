"""Answers to what cannot be done: problem details (RFC 9457) for programs, a plain page for people."""

from markupsafe import escape
from werkzeug import Response
from werkzeug.exceptions import HTTPException

from .visit import Visit, json_response

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<h1>{title}</h1>
<p>{detail}</p>
<p><a href="{url}">Cookie settings</a></p>
</html>
"""


def problem(visit: Visit, error: HTTPException, *, json: bool) -> Response:
    """The answer that says what is wrong; nothing of the request is repeated to a person."""
    status, title = error.code or 500, error.name
    if json:
        content = {"type": "about:blank", "title": title, "status": status, "detail": error.description}
        response = json_response(content, status, "application/problem+json")
    else:
        text = _PAGE.format(
            title=escape(title), detail=escape(error.description or ""), url=escape(visit.url())
        )
        response = Response(text, status, mimetype="text/html")
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers["Allow"] = value
    return response

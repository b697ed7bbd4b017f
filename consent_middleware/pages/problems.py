"""Answers to what cannot be done: problem details (RFC 9457) for programs, a plain page for people."""

from werkzeug import Response
from werkzeug.exceptions import HTTPException

from .visit import Visit, json_response


def problem(visit: Visit, error: HTTPException, *, json: bool) -> Response:
    """The answer that says what is wrong."""
    status, title, detail = error.code or 500, error.name, error.description or ""
    if json:
        content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        response = json_response(content, status, "application/problem+json")
    else:
        response = visit.page("problem.html", status, title=title, detail=detail)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers["Allow"] = value
    return response

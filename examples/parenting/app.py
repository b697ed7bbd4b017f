"""A parenting site whose cookie policy is true: everything that it promises is in `cookies.toml`.

The page has the banner, content that waits for consent, the link to the settings, and the policy as a part of
a page of its own. `CONSENT_SECRET_KEYS` and `CONSENT_RECORDS` come from the environment, as in production.
"""

from pathlib import Path

from flask import Flask, Response, make_response, render_template, session

from consent_middleware.integrations.flask import init_app
from consent_middleware.wsgi import ConsentMiddleware

app = Flask(__name__)
app.secret_key = "the app's own key"
init_app(app)


@app.get("/")
def index() -> Response:
    session["visits"] = session.get("visits", 0) + 1
    response = make_response(render_template("index.html"))
    for name in ("child_age", "_ga", "_ga_EXAMPLE", "fr", "_gcl_au", "aff_id", "app_device", "forgotten"):
        response.set_cookie(name, "1", max_age=2 * 365 * 86_400)
    return response


@app.get("/feed")
def feed() -> str:
    return "<!doctype html><title>Shared by parents</title><p>What other parents share."


@app.get("/cookies")
def cookies() -> str:
    return render_template("cookies.html")


app.wsgi_app = ConsentMiddleware(app.wsgi_app, Path(__file__).with_name("cookies.toml"))

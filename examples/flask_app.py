"""An ordinary Flask app that sets cookies as many sites do. Only the marked lines are ours."""

from pathlib import Path

from flask import Flask, Response, make_response, session

from consent_middleware.wsgi import ConsentMiddleware  # added

app = Flask(__name__)
app.secret_key = "the app's own key"


@app.get("/")
def index() -> Response:
    session["visits"] = session.get("visits", 0) + 1
    response = make_response(
        "<!doctype html><title>Magazine</title><script src='/consent/banner.js' defer></script>"
        "<h1>A magazine</h1><a href='/consent/'>Cookies</a>"
    )
    response.set_cookie("_ga", "GA1.1.1234567890", max_age=2 * 365 * 86_400)
    response.set_cookie("ads_id", "0123456789abcdef", max_age=10 * 365 * 86_400)
    response.set_cookie("social_share", "42", max_age=86_400)
    response.set_cookie("promo", "summer")
    return response


app.wsgi_app = ConsentMiddleware(app.wsgi_app, Path(__file__).with_name("cookies.toml"))  # added

"""The consent pages: one Werkzeug app, served under WSGI and ASGI. Imported on first use."""

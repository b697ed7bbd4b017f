"""Cookie consent, enforced where the cookie is born."""

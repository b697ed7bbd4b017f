"""`GET /consent/offer`: what is asked, in one language, for apps that show it in their own way."""

from typing import Any

from werkzeug import Response

from .declared import CookieEntry, PurposeEntry, VendorEntry
from .visit import Visit, json_response


def show(visit: Visit) -> Response:
    """The questions, and the signed statement that they were shown, which comes back with the answer."""
    return json_response(
        {
            "language": visit.language,
            "version": visit.exchange.compiled.registry.version,
            "purposes": [_purpose(purpose) for purpose in visit.declared.optional()],
            "offer": visit.offer("api"),
        }
    )


def _purpose(purpose: PurposeEntry) -> dict[str, Any]:
    return {
        "id": purpose.id,
        "title": purpose.title,
        "description": purpose.description,
        "basis": purpose.basis,
        "sale": purpose.sale,
        "vendors": [_vendor(vendor) for vendor in purpose.vendors],
    }


def _vendor(vendor: VendorEntry) -> dict[str, Any]:
    """A partner with its cookies of one purpose; the site itself has the id ""."""
    return {
        "id": vendor.id,
        "name": vendor.name,
        "privacy_url": vendor.privacy_url,
        "opt_out_url": vendor.opt_out_url,
        "cookies": [_cookie(cookie) for cookie in vendor.cookies],
    }


def _cookie(cookie: CookieEntry) -> dict[str, Any]:
    return {
        "id": cookie.name,
        "description": cookie.description,
        "data": cookie.data,
        "lifetime": cookie.lifetime,
    }

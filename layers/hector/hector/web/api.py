"""Every route of the API, in one plain Starlette application: what the command line talks to in its own process."""

from __future__ import annotations

from starlette.types import ASGIApp

from hector.services import Services
from hector.web.apps import starlette_app
from hector.web.sessions import SESSION_ROUTES
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES

API_ROUTES = (*SESSION_ROUTES, *TASK_ROUTES, *STREAM_ROUTES)


def api_app(services: Services) -> ASGIApp:
    return starlette_app(API_ROUTES, services)

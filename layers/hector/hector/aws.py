"""A loader of botocore's data that knows one service.

Creating a client, botocore lists the models of every service (some 900 directories) and parses the legacy endpoint data
of every service (1.2 MB), which a service with an endpoint rule set does not use, as DynamoDB and SQS have one. Without
both, a client takes a quarter of the time. A test compares the endpoints of every region with an ordinary client's.
"""

from __future__ import annotations

from typing import Any

from botocore.loaders import Loader


class ServiceLoader(Loader):
    """`data_path`: botocore's setting of that name, more folders to look into."""

    def __init__(self, service: str, data_path: str | None) -> None:
        super().__init__()
        self._service = service
        if data_path:
            self.search_paths.extend(data_path.split(":"))

    def list_available_services(self, type_name: str) -> list[str]:
        return [self._service]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == "endpoints":
            return {"partitions": []}, self.BUILTIN_DATA_PATH
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found

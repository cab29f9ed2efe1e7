"""A loader of botocore's data that knows one service.

Creating a client, botocore lists the models of every service (some 900 directories) and parses the legacy endpoint data
of every service (1.2 MB), which a service with an endpoint rule set, as DynamoDB is, does not use. Without both, a
client takes a quarter of the time. A test compares the endpoints of every region with those of an ordinary client.
"""

from __future__ import annotations

from typing import Any

from botocore.loaders import Loader


class DynamoDBLoader(Loader):
    def __init__(self, data_path: str | None) -> None:
        super().__init__()
        if data_path:
            self.search_paths.extend(data_path.split(":"))

    def list_available_services(self, type_name: str) -> list[str]:
        return ["dynamodb"]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == "endpoints":
            return {"partitions": []}, self.BUILTIN_DATA_PATH
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found

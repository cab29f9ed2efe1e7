"""Toy functions under the emulator, with the response_streaming layer as its sources lie in the checkout."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from hector.emulator import Emulator, Function, Route
from hector.emulator.model import Api, Stack
from tests.lambda_ import built

ROOT = Path(__file__).parents[2]
TOYS = Path(__file__).parent / "toys"

StartToy = Callable[..., Awaitable[Emulator]]


@pytest.fixture(scope="session")
def source_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer as `sam build` would lay it out, with this environment's mangum."""
    layer = tmp_path_factory.mktemp("layer")
    sources = ROOT / "layers" / "response_streaming"
    (layer / "response-streaming").symlink_to(sources / "response-streaming")
    (layer / "python").mkdir()
    (layer / "python" / "response_streaming").symlink_to(sources / "response_streaming")
    for name in ("mangum", "typing_extensions"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (layer / "python" / source.name).symlink_to(source)
    return layer


@pytest.fixture(scope="session")
def built_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's template after `sam build`, for this Python and machine."""
    return built.build(tmp_path_factory.mktemp("build") / "sam")


@pytest.fixture
async def toy(source_layer: Path) -> AsyncIterator[StartToy]:
    """Starts an emulator with one toy as function "Toy", on every path."""

    async def start(
        handler: str,
        *,
        wrapper: bool = True,
        streams: bool = True,
        timeout: float = 20,
        environment: dict[str, str] | None = None,
        route_timeout: float = 29,
        binary: tuple[str, ...] = ("*/*",),
        edge: bool = False,
        concurrency: int | None = None,
        **options: Any,
    ) -> Emulator:
        function = Function(
            name="Toy",
            code=TOYS,
            handler=handler if "." in handler else f"toy.{handler}_handler",
            environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/response-streaming"} if wrapper else {},
            layers=(source_layer,),
            timeout=timeout,
            concurrency=concurrency,
        )
        routes = [Route("ANY", path, "Toy", streams, route_timeout, binary) for path in ("/", "/{proxy+}")]
        deployed = Stack((function,), Api(tuple(routes), edge=edge))
        return await stack.enter_async_context(Emulator(stack=deployed, environment=environment, **options))

    async with AsyncExitStack() as stack:
        yield start


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30) as client:
        yield client

"""``python -m tests.emulator``: serve a built template on loopback, for curl."""

from __future__ import annotations

import argparse
import asyncio
import signal

from tests.emulator.emulator import Emulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--template", default=".aws-sam/build/template.yaml", help="a built SAM template")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="for every function")
    parser.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE", help="of the stack")
    parser.add_argument("--resource", action="append", default=[], metavar="ID=NAME", help="a resource's physical name")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options))
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"error: {error}") from None


async def _serve(options: argparse.Namespace) -> None:
    emulator = Emulator.from_template(
        options.template,
        parameters=_pairs(options.parameter),
        resources=_pairs(options.resource),
        environment=_pairs(options.env),
        port=options.port,
        echo=True,
    )
    async with emulator:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(f"Listening on {emulator.url}", flush=True)
        await stop.wait()


def _pairs(arguments: list[str]) -> dict[str, str]:
    for argument in arguments:
        if "=" not in argument:
            raise SystemExit(f"{argument!r}: expected KEY=VALUE")
    return dict(argument.split("=", 1) for argument in arguments)


if __name__ == "__main__":
    main()

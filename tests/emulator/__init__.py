"""A small AWS on loopback: Runtime API, function processes, and a REST front door that streams.

    async with Emulator.from_template(".aws-sam/build/template.yaml") as aws:
        httpx.get(aws.url + "/health")

Functions run as the processes that Lambda would start, from the built code, with the layers' own dependencies.
"""

from tests.emulator.emulator import Emulator
from tests.emulator.instance import Instance, Invocation
from tests.emulator.model import Function, Route

__all__ = ["Emulator", "Function", "Instance", "Invocation", "Route"]

"""A small AWS on loopback: Runtime API, function processes, and a REST front door that streams.

    async with Emulator.from_template(".aws-sam/build/template.yaml") as aws:
        httpx.get(aws.url + "/health")

Functions run as the processes that Lambda would start, from the built code, with the layers' own dependencies.
"""

from hector.emulator.emulator import Emulator
from hector.emulator.instance import Instance, Invocation
from hector.emulator.model import Function, Route

__all__ = ["Emulator", "Function", "Instance", "Invocation", "Route"]

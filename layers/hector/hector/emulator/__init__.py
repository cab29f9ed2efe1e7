"""A small AWS on loopback: Runtime API, function processes, a REST front door that streams, queues and schedules.

    async with Emulator.from_template(".aws-sam/build/template.yaml") as aws:
        httpx.get(aws.url + "/health")

Functions run as the processes that Lambda would start, from the built code, with the layers' own dependencies. It is
for development: the layer that is deployed leaves it out. `hector emulate` is its command.
"""

from hector.emulator.emulator import Emulator
from hector.emulator.instance import Instance
from hector.emulator.invocation import Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import Function, Route

__all__ = ["Emulator", "Function", "Instance", "Invocation", "Limits", "Route"]

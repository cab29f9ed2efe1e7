"""`hector session messages | fork | export | import`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.driving import hector
from tests.processes import HectorServer


def test_a_session_is_read_forked_exported_and_imported(server: HectorServer) -> None:
    at = ["--server", server.url]
    first = json.loads(hector("call", "my_agent", "My name is Alice", "--json", *at).stdout)
    session = first["sessionId"]
    hector("call", "my_agent", "My name is Bob", "--session", session, *at)
    lines = hector("session", "messages", session, *at).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["user", "assistant"] * 2
    assert lines[0].endswith("\tMy name is Alice")
    some = hector("session", "messages", session, "--limit", "1", "--json", *at)
    assert json.loads(some.stdout)["items"][0]["parts"][0]["text"] == "My name is Alice"

    forked = hector("session", "fork", session, "--task", first["taskId"], *at).stdout.strip()
    assert name_in(forked, at) == "Your name is Alice.\n"
    exported = hector("session", "export", session, *at).stdout
    assert json.loads(exported.splitlines()[-1]) == {"type": "end", "turns": 2}
    assert name_in(hector("session", "import", *at, text=exported).stdout.strip(), at) == "Your name is Bob.\n"
    Path("session.ndjson").write_text(exported)
    with_another = hector("session", "import", "session.ndjson", "--agent", "assistant", "--json", *at).stdout
    assert json.loads(with_another)["agentId"] == "assistant"


def test_what_cannot_be_copied_is_refused(server: HectorServer) -> None:
    at = ["--server", server.url]
    cut = hector("session", "import", *at, text='{"type": "session"}\n')
    assert (cut.returncode, cut.stdout) == (1, "")
    assert hector("session", "import", "none.ndjson", *at).returncode == 2
    for command in ("messages", "fork", "export"):
        gone = hector("session", command, "gone", *at)
        assert (gone.returncode, gone.stdout, gone.stderr[:30]) == (1, "", "hector: There is no session 'g")


def test_in_process_on_a_shared_store(shared_store: str) -> None:
    settings = {"HECTOR_STORE": shared_store}
    session = hector("session", "create", "my_agent", **settings).stdout.strip()
    hector("call", "my_agent", "My name is Alice", "--session", session, **settings)
    exported = hector("session", "export", session, **settings).stdout
    copy = hector("session", "import", text=exported, **settings).stdout.strip()
    assert len(hector("session", "messages", copy, **settings).stdout.splitlines()) == 2


def name_in(session: str, at: list[str]) -> str:
    agent = "my_agent"
    return hector("call", agent, "What is my name?", "--session", session, *at).stdout

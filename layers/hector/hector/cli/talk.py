"""Talking on a terminal: print an answer as it comes, and let Ctrl-C stop it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from hector.cli.conversation import Conversation
from hector.errors import HectorError


def converse(runner: asyncio.Runner, conversation: Conversation) -> None:
    """Prompt, answer, and so on, until the end of the input."""
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401 - gives input() line editing and a history

        print("Ctrl-C cancels an answer; /quit or Ctrl-D ends.")
    try:
        while True:
            try:
                text = input("you> " if interactive else "").strip()
            except (EOFError, KeyboardInterrupt):
                print()
                return
            if text == "/quit":
                return
            if text:
                _answer(runner, conversation, text)
    finally:
        runner.run(conversation.aclose())


def say_once(runner: asyncio.Runner, conversation: Conversation, text: str, stream: bool) -> str:
    """Say one thing; the final state of its task."""
    try:
        return runner.run(_print_answer(conversation, text, stream))
    except KeyboardInterrupt:
        return "canceled"
    finally:
        runner.run(conversation.aclose())


def _answer(runner: asyncio.Runner, conversation: Conversation, text: str) -> None:
    try:
        runner.run(_print_answer(conversation, text, stream=True))
    except KeyboardInterrupt:
        print("\n(canceled)")
    except HectorError as error:
        print(f"hector: {error.message}", file=sys.stderr)


async def _print_answer(conversation: Conversation, text: str, stream: bool) -> str:
    pieces: list[str] = []
    state = "failed"
    try:
        async with aclosing(conversation.say(text)) as answer:
            async for data in answer:
                if "message" in data:
                    piece = "".join(part["text"] for part in data["message"]["parts"])
                    pieces.append(piece)
                    if stream:
                        print(piece, end="", flush=True)
                elif "last_event_id" in data:
                    print("\n(the end of this answer was lost)", file=sys.stderr)
                else:
                    state = data["status"]["state"]
                    _print_status(data["status"])
    except asyncio.CancelledError:
        await conversation.cancel()
        raise
    print("" if stream else "".join(pieces))
    return state


def _print_status(status: dict[str, object]) -> None:
    match status:
        case {"error": {"message": message}}:
            print(f"\nhector: {message}", file=sys.stderr)
        case {"message": note}:
            print(f"({note})", file=sys.stderr)

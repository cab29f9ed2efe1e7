"""A graph that calls a tool when asked about the weather, on LangChain's own fake models."""

from __future__ import annotations

from typing import Any

import my_tools
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return my_tools.look_up(city)


async def think(state: MessagesState) -> dict[str, Any]:
    last = state["messages"][-1]
    if last.type == "human" and "weather" in last.text:
        call = AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": "1"}])
        return {"messages": [await FakeMessagesListChatModel(responses=[call]).ainvoke(state["messages"])]}
    said = " ".join(f"{message.type}:{message.text or calls(message)}" for message in state["messages"])
    return {"messages": [await GenericFakeChatModel(messages=iter([AIMessage(said)])).ainvoke(state["messages"])]}


def calls(message: Any) -> str:
    return "+".join(f"call-{call['name']}" for call in message.tool_calls)


building = StateGraph(MessagesState)
building.add_node("think", think)
building.add_node("tools", ToolNode([weather]))
building.add_edge(START, "think")
building.add_conditional_edges("think", tools_condition)
building.add_edge("tools", "think")
graph = building.compile()

"""What a user of LangGraph or Strands has: a graph, a model, tools. Run by the Python of `.tools/frameworks`."""

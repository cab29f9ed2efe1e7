"""The hector.yaml that `hector config init` writes."""

STARTER = """\
# What `hector serve` serves. Every key: `hector config schema`; what is wrong here: `hector config validate`.
# ${NAME} is filled in from the environment, ${NAME:-default} has a default.

llms:                     # what answers; agents name one of these
  builtin:                # an offline stand-in, to try things out with
    type: builtin
    delay: 20ms           # between two words
  # local:                # any server that speaks OpenAI's Chat Completions
  #   type: openai
  #   base_url: http://127.0.0.1:11434/v1
  #   model: smollm2
  #   api_key: ${OPENAI_API_KEY:-none}
  #   temperature: 0.2
  #   max_tokens: 1024
  # mine:                 # a Python function beside this file: answer(turn) returns or yields text
  #   type: python
  #   target: my_module:answer

agents:                   # what clients talk to, by these ids
  my_agent:
    name: My agent
    description: An agent to try things out with
    llm: builtin
    # prompt:
    #   system: You are a patient assistant.
    # reasoning:
    #   enable_streaming: true    # false: the answer comes in one piece
    # memory:
    #   strategy: window          # or tokens, or summary: what is older, in short
    #   messages: 40              # the newest messages that the model is shown
    #   # tokens: 8000            # for tokens and summary, in place of messages
    # turns:
    #   timeout: 120s             # a turn that takes longer fails

# session_store: dynamodb://hector?region=eu-west-1   # memory if absent: sessions end with the server

# sessions:
#   ttl: 24h              # a session ends this long after its last activity
#   max_age: 30d          # and this long after its start, at most

# public_url: https://agents.example.com      # for the links in answers, behind a proxy
"""

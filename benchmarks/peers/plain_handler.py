"""The handler as it is usually written: FastAPI, Mangum, boto3 and Powertools, sessions in a DynamoDB table."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from mangum import Mangum
from pydantic import BaseModel, Field

logger = Logger(service="sessions")
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
app = FastAPI(title="Sessions")


class CreateSession(BaseModel):
    agentId: str
    ttl: int = Field(default=86_400, gt=0)
    metadata: dict[str, Any] = Field(default_factory=dict)


class TaskInput(BaseModel):
    type: str = "text/plain"
    content: str = Field(min_length=1)


class PostTask(BaseModel):
    input: TaskInput


@app.post("/sessions", status_code=201)
def create_session(body: CreateSession) -> dict[str, Any]:
    session_id, expires_at = str(uuid.uuid4()), int(time.time()) + body.ttl
    session: dict[str, Any] = {"pk": session_id, "sk": "session", "agentId": body.agentId, "expiresAt": expires_at}
    table.put_item(Item=session, ConditionExpression="attribute_not_exists(pk)")
    return {"sessionId": session_id, "agentId": body.agentId, "status": "active", "expiresAt": expires_at}


@app.get("/sessions/{session_id}")
def read_session(session_id: str) -> dict[str, Any]:
    found = table.get_item(Key={"pk": session_id, "sk": "session"}, ConsistentRead=True).get("Item")
    if found is None:
        raise HTTPException(404, "There is no such session")
    return dict(found)


@app.post("/sessions/{session_id}/tasks")
def post_task(session_id: str, body: PostTask) -> dict[str, Any]:
    read_session(session_id)
    logger.info("task", extra={"session": session_id})
    return {"sessionId": session_id, "status": {"state": "completed"}, "output": {"content": body.input.content}}


@app.post("/sessions/{session_id}/tasks/stream")
def stream_task(session_id: str, body: PostTask) -> StreamingResponse:
    read_session(session_id)
    words = body.input.content.split()
    return StreamingResponse((f"data: {word}\n\n" for word in words), media_type="text/event-stream")


handler = logger.inject_lambda_context(Mangum(app, lifespan="off"))
